import { createRoot } from "react-dom/client";
import "../shared/theme.css";
import "./panel.css";
import { Boundary } from "../shared/Boundary";
import { App } from "./App";
import { applyTheme, theme } from "./theme";

applyTheme(theme());
createRoot(document.getElementById("root")!).render(
  <Boundary>
    <App />
  </Boundary>,
);
