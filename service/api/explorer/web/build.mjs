// Builds src/ into ../static: one page, one script, one style sheet, one icon.
import { copyFile } from "node:fs/promises";
import { build } from "esbuild";

const OUT = new URL("../static/", import.meta.url).pathname;
const SOURCE = new URL("src/", import.meta.url).pathname;

await build({
  entryPoints: { explorer: `${SOURCE}main.ts` },
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "firefox113", "safari16.4"],
  outdir: OUT,
});
await build({
  entryPoints: { explorer: `${SOURCE}explorer.css` },
  minify: true,
  target: ["chrome111", "firefox113", "safari16.4"],
  outdir: OUT,
});
for (const name of ["index.html", "icon.svg"]) await copyFile(`${SOURCE}${name}`, `${OUT}${name}`);
