"""How the console looks and what its few lines of script do. No build step, no request to anyone but this server."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #f6f5f2; --card: #fff; --ink: #22252b; --soft: #6b7079; --line: #e3e1db;
  --brass: #a8741a; --good: #1d7f4f; --bad: #b3372b; --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171b; --card: #1d2026; --ink: #e6e4df; --soft: #969ba5;
  --line: #2e323a; --brass: #dca94b; --good: #5cc48f; --bad: #ee8073; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header { display: flex; align-items: baseline; gap: .75rem; flex-wrap: wrap; }
h1 { margin: 0; font-size: 1.6rem; letter-spacing: -.01em; }
h1::before { content: ""; display: inline-block; width: .6em; height: .6em; margin-right: .45em; border-radius: 50%;
  background: var(--brass); }
h2 { margin: 2.25rem 0 .75rem; font-size: .8rem; font-weight: 600; letter-spacing: .09em; text-transform: uppercase;
  color: var(--soft); }
h3 { margin: 0; font-size: 1rem; }
small, .soft { color: var(--soft); font-size: .85rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.1rem; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
.copyable { position: relative; }
pre { margin: 0; overflow-x: auto; font: 13px/1.6 var(--mono); }
pre b { font-weight: 500; color: var(--brass); }
button { position: absolute; top: .6rem; right: .6rem; padding: .2rem .7rem; border: 1px solid var(--line);
  border-radius: 6px; background: var(--paper); color: var(--ink); font: inherit; font-size: .8rem; cursor: pointer; }
button:hover, button:focus-visible { border-color: var(--brass); }
ol { list-style: none; margin: .75rem 0 0; padding: 0; }
li { padding: .5rem 0; border-top: 1px solid var(--line); display: grid;
  grid-template-columns: 1fr auto; gap: 0 .75rem; }
li p { grid-column: 1 / -1; margin: .1rem 0 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.unread h4 { font-weight: 650; }
h4 { margin: 0; font-size: .92rem; font-weight: 450; }
.scroll { overflow-x: auto; padding: 0; }
table { width: 100%; border-collapse: collapse; font-size: .88rem; }
th, td { padding: .5rem .9rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 550; color: var(--soft); }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 16rem; }
tr:last-child td { border-bottom: 0; }
code { font: 12.5px var(--mono); }
.good { color: var(--good); } .bad { color: var(--bad); }
.away #live { opacity: .45; }
.away #state::after { content: " The server does not answer; trying again."; color: var(--bad); }
"""

SCRIPT = """
const live = document.getElementById("live");
let shown = null;
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/console/live", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const text = await answer.text();
    const selecting = String(document.getSelection()) !== "";
    if (text !== shown && !selecting) { live.innerHTML = text; shown = text; }
    document.body.classList.remove("away");
  } catch { document.body.classList.add("away"); }
}
setInterval(refresh, 2000);
document.addEventListener("visibilitychange", refresh);
for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1200);
  });
}
"""

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Ccircle cx='8' cy='8' r='6' fill='%23c08a2c'/%3E%3C/svg%3E"
)
