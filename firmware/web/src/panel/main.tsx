import { createRoot } from "react-dom/client";
import "../shared/theme.css";
import "./panel.css";
import { App } from "./App";
import { applyTheme, theme } from "./theme";

applyTheme(theme());
createRoot(document.getElementById("root")!).render(<App />);
