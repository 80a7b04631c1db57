"""How a page looks: its colours, light and dark and on paper, and the few lines of script that it can do without.

Invariant: nothing is fetched; states differ by lightness and pattern as well as by colour (the
colours are those of Okabe and Ito). Neighbour: `page` puts both into the file.
"""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--muted:#5b6675;--faint:#e3e7ed;--wash:#f5f7fa;
--accent:#1d5f9e;--accent-wash:#e6eff8;--bad:#a83208;--bad-wash:#fbeee8;--band:#f0e9dc;
--alive:#dbe7f1;--suspect:#e69f00;--unreachable:#7fc4ec;--dead:#5a1a02;--left:#8d949e;--none:#fff}
@media (prefers-color-scheme:dark){:root{--paper:#12161c;--ink:#e4e9f0;--muted:#9aa6b5;--faint:#2b333e;--wash:#1a2029;
--accent:#7fb6ea;--accent-wash:#1b2d40;--bad:#ff9a70;--bad-wash:#3a2017;--band:#2a261d;
--alive:#27394a;--suspect:#e69f00;--unreachable:#4f9fcf;--dead:#ffd9c7;--left:#77808c;--none:#12161c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:70rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
h1{font-size:1.75rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:3rem 0 .5rem}
h3{font-size:.95rem;margin:1.5rem 0 .25rem}
p{margin:.25rem 0 .75rem;max-width:46rem;overflow-wrap:anywhere}
.about,.note{color:var(--muted)}
.note{font-size:.87rem}
.verdict{line-height:1.35;display:inline-block;font-weight:650;padding:.15rem .7rem;border-radius:1rem;
margin:0 0 .75rem;background:var(--accent-wash);color:var(--accent)}
.verdict.bad{background:var(--bad-wash);color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1.5rem 0 0;padding:0}
.tile{background:var(--wash);border-radius:.5rem;padding:.7rem .9rem}
.tile dt{color:var(--muted);font-size:.8rem;line-height:1.3}
.tile dd{margin:.15rem 0 0;font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}
.tile small{font-size:.78rem;font-weight:400;color:var(--muted);display:block}
table{border-collapse:collapse;width:100%;font-size:.87rem}
th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--faint);vertical-align:top}
th{color:var(--muted);font-weight:600;white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.w{overflow-wrap:anywhere;min-width:10rem}
tr.bad td{background:var(--bad-wash)}
tr.own td:first-child{font-weight:600}
.mark-bad{color:var(--bad);font-weight:650}
.mark-ok{color:var(--accent)}
.mark-dull{color:var(--muted)}
.nowrap{white-space:nowrap}
code,pre{font:.82rem/1.5 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
code{overflow-wrap:anywhere}
pre{background:var(--wash);border-radius:.5rem;padding:.8rem 1rem;overflow-x:auto;margin:.5rem 0}
pre.wrap{white-space:pre-wrap;overflow-wrap:anywhere}
.finding{border-left:3px solid var(--bad);padding:.1rem 0 .1rem 1rem;margin:1rem 0}
.finding p{margin:.1rem 0}
.wide>table{min-width:40rem}
.two .wide>table{min-width:0}
.pairs td.note{padding-top:0}
.pairs tr:nth-child(odd) td{border:0;padding-bottom:0}
.wide{overflow-x:auto;margin:0 0 .25rem}
.wide>svg{min-width:44rem}
svg{display:block;width:100%;height:auto}
svg text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}
svg text.tick{fill:var(--muted);font-size:11px}
.grid,.lane,.break,.hatch{fill:none}
.grid{stroke:var(--faint)}
.band{fill:var(--band)}
.range{fill:var(--accent);fill-opacity:.28;stroke:none}
.first,.second,.third{fill:none;stroke-width:1.8;stroke-linejoin:round}
.first{stroke:var(--accent)}
.second{stroke:var(--muted);stroke-width:1.3;stroke-dasharray:5 3}
.third{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:1.5 3}
.break{stroke:var(--bad);stroke-width:1.6;stroke-dasharray:7 3}
.fault{fill:var(--accent);fill-opacity:.35;stroke:var(--accent)}
.fault.endless{stroke-dasharray:4 3}
.instant,.fill{fill:var(--accent)}
.fill{fill-opacity:.75}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:0 2rem}
.two>*{min-width:0}
.sample{display:inline-block;width:30px;height:10px;margin-right:.4rem;vertical-align:middle}
.symbols{position:absolute;width:0;height:0}
.nobody{fill:var(--none)}
.is-alive{fill:var(--alive)}
.is-suspect{fill:url(#state-suspect)}
.is-unreachable{fill:url(#state-unreachable)}
.is-dead{fill:var(--dead)}
.is-left{fill:url(#state-left)}
.is-unknown{fill:url(#state-unknown)}
.ground-suspect{fill:var(--suspect)}.ground-unreachable{fill:var(--unreachable)}
.ground-left{fill:var(--left)}.ground-unknown{fill:var(--none)}
.hatch{stroke:var(--ink);stroke-width:.05}.dot{fill:var(--ink)}
.maps{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:1rem;margin:1rem 0}
.maps figure,.scrub{margin:0}
.maps svg{border:1px solid var(--faint)}
figcaption{font-size:.8rem;color:var(--muted);font-variant-numeric:tabular-nums;padding-top:.2rem}
.scrub{max-width:37rem;margin:1rem 0}
.scrub input{width:100%;accent-color:var(--accent)}
.scrub output{font-weight:600;font-variant-numeric:tabular-nums}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;list-style:none;padding:0;margin:.5rem 0;font-size:.85rem}
.key svg{display:inline-block;width:1.05rem;height:1.05rem;margin-right:.4rem;vertical-align:-.18rem;
border:1px solid var(--faint)}
.lane{stroke:var(--faint);stroke-width:2}
.led{fill:var(--accent-wash)}
.arrow{stroke:var(--muted);stroke-opacity:.7;fill:none}
.arrow.head{fill:var(--muted);stroke:none}
.arrow.cause{stroke:var(--accent);stroke-opacity:1;stroke-width:1.8}
.arrow.cause.head{fill:var(--accent)}
svg .mark{fill:var(--muted)}
svg .mark.hollow{fill:var(--paper);stroke:var(--muted)}
svg .mark.cause{fill:var(--accent);stroke:var(--accent)}
svg text.cause{font-weight:600}
.spacetime{max-height:44rem;overflow:auto;border:1px solid var(--faint);border-radius:.5rem;padding:.5rem}
.spacetime>svg{min-width:56rem}
.seeds{display:flex;flex-wrap:wrap;gap:3px;margin:.75rem 0}
.seeds i{width:14px;height:14px;border-radius:3px;background:var(--alive)}
.seeds i.bad{background:var(--bad);border-radius:50%}
details{margin:.75rem 0}
summary{cursor:pointer;color:var(--accent);font-weight:600}
footer{margin-top:4rem;color:var(--muted);font-size:.82rem;border-top:1px solid var(--faint);padding-top:.75rem}
@media (max-width:45rem){.wide>table.rules{min-width:0}.rules thead{display:none}
.rules tr{display:flex;flex-wrap:wrap;column-gap:.75rem;padding:.3rem 0;border-bottom:1px solid var(--faint)}
.rules td{border:0;padding:0}.rules td:first-child{font-weight:600}.rules td:empty{display:none}
.rules td.w{flex:1 0 100%}.rules tr.bad{background:var(--bad-wash)}}
@media print{main{max-width:none;padding:0}.scrub{display:none}.spacetime{max-height:none;overflow:visible;border:0}
.wide{overflow:visible}.wide>svg,.spacetime>svg{min-width:0}h2{break-after:avoid}svg,tr,.tile{break-inside:avoid}
pre{white-space:pre-wrap}.two{grid-template-columns:1fr 1fr}
details.printed::details-content{display:block;content-visibility:visible;height:auto}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.spacetime svg{break-inside:auto}}
""".strip()

# Without it all that is shown are the small maps, and the long diagram begins at its top.
SCRIPT = """
document.querySelectorAll('.scrub').forEach(function (box) {
  var input = box.querySelector('input'), use = box.querySelector('use'), said = box.querySelector('output');
  box.hidden = false;
  input.addEventListener('input', function () {
    use.setAttribute('href', '#frame-' + input.value);
    said.textContent = document.getElementById('frame-' + input.value).getAttribute('data-at');
  });
});
window.addEventListener('beforeprint', function () {
  document.querySelectorAll('details.printed').forEach(function (box) { box.open = true; });
});
document.querySelectorAll('.spacetime').forEach(function (box) { box.scrollTop = box.scrollHeight; });
""".strip()
