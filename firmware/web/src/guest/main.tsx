import { createRoot } from "react-dom/client";
import "../shared/theme.css";
import "./guest.css";
import { Boundary } from "../shared/Boundary";
import { App } from "./App";

createRoot(document.getElementById("root")!).render(
  <Boundary>
    <App />
  </Boundary>,
);
