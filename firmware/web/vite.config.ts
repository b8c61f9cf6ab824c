import { resolve } from "node:path";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** Where each page is served from, by the program that serves it. */
const PAGES = {
  /** `rostrumd` serves the panel at its root. */
  panel: { base: "/", service: "http://127.0.0.1:8090" },
  /** `channeld` serves the guest's page at `/guest`, its files under `/guest/assets/`. */
  guest: { base: "/guest/", service: "http://127.0.0.1:7880" },
} as const;

export default defineConfig(({ mode }) => {
  const page = mode === "guest" ? "guest" : "panel";
  const { base, service } = PAGES[page];
  return {
    root: resolve(import.meta.dirname, page),
    base,
    plugins: [react()],
    build: {
      outDir: resolve(import.meta.dirname, "dist", page),
      emptyOutDir: true,
      // Nothing as a data: address, so that the pages work under a strict content security policy.
      assetsInlineLimit: 0,
      // One script: it is used on a LAN or by phone once, and a meeting waits for all of it.
      chunkSizeWarningLimit: 1500,
      target: "es2022",
    },
    server: { proxy: { "/api": { target: service, ws: true }, "/rtc": { target: service, ws: true } } },
  };
});
