import { defineConfig } from "vitest/config";

/** The pages in a real Chromium, with a device and a service that only this folder plays. */
export default defineConfig({
  test: { include: ["look/**/*.look.ts"], testTimeout: 30_000, hookTimeout: 30_000, fileParallelism: false },
});
