// SPDX-License-Identifier: Apache-2.0
#include "cli/report_page.h"

namespace temper {

const char kReportStyle[] = R"css(
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --panel: #ffffff; --ink: #1c1e21; --soft: #5c6269; --line: #dfe1e0; --grid: #ececea;
  --bar: #dfe8f3; --c0: #1f5fa8; --c1: #c4541a; --c2: #2c7d4f; --c3: #7a4aa5; --c4: #8a6d1a; --c5: #a8325e;
  --right: #23703f; --wrong: #b03a2e; --odd: #8a6d1a; --shade: 196, 84, 26;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif;
  --serif: Charter, "Bitstream Charter", "Source Serif 4", Cambria, Georgia, "DejaVu Serif", serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --panel: #1b1e22; --ink: #e4e5e3; --soft: #9aa1a8; --line: #33373c; --grid: #282c31;
    --bar: #23364c; --c0: #76aef0; --c1: #f0935a; --c2: #6cc28f; --c3: #b996e0; --c4: #d3b45a; --c5: #ea86ab;
    --right: #6cc28f; --wrong: #ef8379; --odd: #d3b45a; --shade: 240, 147, 90;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 1160px; padding: 2.6rem 1.5rem 5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 var(--serif); }
h1, h2, h3, h4 { font-family: var(--serif); font-weight: 600; line-height: 1.25; text-wrap: balance; }
h1 { font-size: 2rem; margin: .1rem 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.4rem; margin: 3.2rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 2.2rem 0 .3rem; }
h3 small, h4 small { font: 400 .8rem var(--sans); color: var(--soft); margin-left: .5em; }
h4 { font-size: .95rem; margin: 1.4rem 0 .4rem; }
p { max-width: 46rem; margin: .4rem 0; }
.kind, .facts, .note, figcaption, .legend, .meta { font-family: var(--sans); color: var(--soft); }
.kind { font-size: .8rem; letter-spacing: .02em; }
.facts { font-size: .88rem; margin-bottom: 1.3rem; }
.lead { font-size: 1.14rem; line-height: 1.6; }
.note { font-size: .84rem; line-height: 1.5; }
.warning { border-left: 3px solid var(--wrong); padding-left: .8rem; color: var(--ink); overflow-wrap: anywhere; }
a { color: inherit; text-decoration: underline; text-decoration-color: var(--line); text-underline-offset: .2em; }
a:hover { text-decoration-color: currentColor; }

.scroll { overflow-x: auto; margin: 1rem 0 .6rem; }
table { border-collapse: collapse; width: 100%; min-width: 60rem; table-layout: fixed; font: .84rem/1.35 var(--sans); font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .55rem; text-align: right; white-space: nowrap; }
thead th { white-space: normal; }
.over td { width: 9.5rem; }
th:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--ink); vertical-align: bottom; }
thead .over th { border-bottom: 1px solid var(--line); text-align: center; padding-bottom: .2rem; }
thead .over th:empty { border: 0; }
th:first-child, .over td { position: sticky; left: 0; background: var(--paper); padding-left: 0; }
tbody th { font-weight: 600; white-space: normal; overflow-wrap: anywhere; }
tbody th small { display: block; font-weight: 400; color: var(--soft); font-size: .75rem; }
tbody tr { border-bottom: 1px solid var(--line); }
tbody td[style] { background: linear-gradient(var(--bar), var(--bar)) .3rem 50% / calc((100% - .6rem) * var(--share)) 1.5rem
  no-repeat; }
td.none, tr.open td { color: var(--soft); }
tr.open th { font-weight: 400; }
.se { color: var(--soft); font-size: .75rem; }

.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 310px), 1fr)); gap: 1.4rem 1.8rem;
  margin: 1rem 0; }
figure { margin: 0; position: relative; min-width: 0; }
figure h4 { margin: 0; font: 600 .86rem var(--sans); overflow-wrap: anywhere; }
figure h4 small { font-weight: 400; font-size: .78rem; margin-left: .4em; }
figcaption { font-size: .76rem; line-height: 1.4; }
.legend { font-size: .76rem; display: flex; flex-wrap: wrap; gap: 0 .9em; min-height: 1.3em; }
.legend i { display: inline-block; width: 1.1em; height: 0; border-top: 2px solid; vertical-align: middle; margin-right: .35em; }
.legend i.dash { border-top-style: dashed; }
.legend i.area { border-top: .7em solid; opacity: .2; }
svg { display: block; width: 100%; overflow: visible; touch-action: pan-y; }
svg text { font: 11px var(--sans); fill: var(--soft); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); } .axis { stroke: var(--soft); } .cursor { stroke: var(--soft); stroke-dasharray: 2 2; }
.curve { fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linejoin: round; stroke-linecap: round; }
.dot { fill: currentColor; stroke: var(--paper); stroke-width: 1; }
.area { fill: currentColor; opacity: .14; }
.dash { stroke: currentColor; stroke-dasharray: 5 4; fill: none; opacity: .8; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
.c4 { color: var(--c4); } .c5 { color: var(--c5); }
.tip { position: absolute; pointer-events: none; background: var(--panel); border: 1px solid var(--line); border-radius: 4px;
  padding: .3rem .5rem; font: 12px/1.45 var(--sans); font-variant-numeric: tabular-nums; white-space: nowrap; z-index: 2;
  box-shadow: 0 2px 8px rgba(0, 0, 0, .12); }

summary { cursor: pointer; font-family: var(--sans); font-size: .86rem; color: var(--soft); }
details.stage { border-top: 1px solid var(--line); padding: .7rem 0; }
details.stage > summary { font: 600 1.1rem var(--serif); color: var(--ink); }
.problem { margin: 1.5rem 0 2rem; }
.prompt { font: .86rem/1.5 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 .1rem; max-width: none; }
.meta { font-size: .8rem; margin: 0 0 .7rem; max-width: none; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 245px), 1fr)); gap: .7rem; }
.card { background: var(--panel); border: 1px solid var(--line); border-top: 3px solid var(--wrong); border-radius: 3px;
  padding: .5rem .65rem .6rem; min-width: 0; display: flex; flex-direction: column; gap: .35rem; }
.card.right { border-top-color: var(--right); }
.card header { display: flex; justify-content: space-between; gap: .6em; font: .8rem var(--sans);
  font-variant-numeric: tabular-nums; }
.card header b { font-weight: 600; }
.card header span { color: var(--soft); text-align: right; }
.text { font: .78rem/1.6 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; flex: 1; max-height: 22rem; overflow-y: auto; }
.text span { border-radius: 2px; }
.verdicts { list-style: none; margin: 0; padding: .35rem 0 0; border-top: 1px solid var(--grid); font: .76rem/1.45 var(--sans);
  overflow-wrap: anywhere; }
.verdicts b { font-weight: 600; } .soft { color: var(--soft); }
.correct { color: var(--right); } .wrong, .malformed, .no_answer { color: var(--wrong); }
.timeout, .infrastructure_error { color: var(--odd); }
.scale { display: inline-flex; vertical-align: middle; margin: 0 .3em; }
.scale i { width: 1.3em; height: .9em; }
@media (max-width: 600px) {
  body { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.55rem; } .lead { font-size: 1.05rem; }
  tbody th { overflow-wrap: anywhere; padding-right: .4rem; }
  .over td { width: 8rem; } 
}
@media print { body { max-width: none; } .card, figure { break-inside: avoid; } .text { max-height: none; } }
)css";

const char kReportScript[] = R"js(
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const svgSpace = document.getElementById('mark').namespaceURI;
const colours = 6;

// Strings become attribute values or text nodes, never markup.
function make(tag, attributes, ...children) {
  const node = tag.startsWith('svg:') ? document.createElementNS(svgSpace, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}

function format(value, unit) {
  if (value === null || value === undefined) return '–';
  if (unit === 'share') return +(100 * value).toPrecision(3) + '%';
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(1) : String(+value.toPrecision(4));
}
const signed = value => (value > 0 ? '+' : value < 0 ? '−' : '') + format(Math.abs(value));
const fixed = (value, digits) => (value || 0).toFixed(digits).replace('-', '−');
const minus = value => format(value).replace('-', '−');

function ticks(low, high, count, whole) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(size => size >= rough * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const values = [];
  for (let i = Math.ceil(low / step - 1e-6); i * step <= high + step * 1e-6; ++i) values.push(+(i * step).toPrecision(12));
  return values;
}

// Where y goes: from zero where that makes sense, and a little air above.
function rangeOf(chart) {
  const values = chart.series.flatMap(series => series.y);
  if (chart.band) values.push(...chart.band.low, ...chart.band.high);
  for (const line of chart.lines || []) values.push(line.y);
  const known = values.filter(value => value !== null);
  let low = Math.min(...known), high = Math.max(...known);
  if (chart.zero) low = Math.min(low, 0), high = Math.max(high, 0);
  if (chart.top) high = chart.top;
  if (high === low) high += Math.abs(high) * 0.1 || 1, low -= chart.zero ? 0 : Math.abs(low) * 0.1;
  return [low, chart.top ? high : high + (high - low) * 0.05];
}

// Stretches without a gap, as SVG paths.
function pathOf(x, y) {
  let path = '', pen = 'M';
  x.forEach((at, i) => {
    if (y[i] === null) return pen = 'M';
    path += pen + at.toFixed(1) + ' ' + y[i].toFixed(1);
    pen = 'L';
  });
  return path;
}

function drawAxes(svg, chart, place, box) {
  for (const value of ticks(...box.range, 4)) {
    svg.append(make('svg:line', {class: 'grid', x1: box.left, x2: box.right, y1: place.y(value), y2: place.y(value)}),
               make('svg:text', {x: box.left - 6, y: place.y(value) + 4, 'text-anchor': 'end'}, format(value, chart.unit)));
  }
  svg.append(make('svg:line', {class: 'axis', x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom}));
  const steps = ticks(...box.domain, Math.max(2, box.width / 75), true);
  for (const value of steps) {
    svg.append(make('svg:line', {class: 'axis', x1: place.x(value), x2: place.x(value), y1: box.bottom, y2: box.bottom + 4}),
               make('svg:text', {x: place.x(value), y: box.bottom + 16, 'text-anchor': 'middle'}, String(value)));
  }
  svg.append(make('svg:text', {x: box.right, y: box.bottom + 30, 'text-anchor': 'end'}, 'update'));
}

function drawCurves(svg, chart, place, box) {
  const scaled = y => y.map(value => value === null ? null : place.y(value));
  if (chart.band) {
    const x = chart.x.map(place.x), kept = chart.x.map((_, i) => i).filter(i => chart.band.low[i] !== null && chart.band.high[i] !== null);
    const at = (i, y) => x[i].toFixed(1) + ' ' + place.y(y).toFixed(1);
    const edge = kept.map(i => at(i, chart.band.high[i])).concat(kept.map(i => at(i, chart.band.low[i])).reverse());
    if (kept.length) svg.append(make('svg:path', {class: 'area c0', d: 'M' + edge.join('L') + 'Z'}));
  }
  (chart.lines || []).forEach((line, i) => svg.append(make('svg:line', {
    class: 'dash c' + (i + 1) % colours, x1: box.left, x2: box.right, y1: place.y(line.y), y2: place.y(line.y)})));
  chart.series.forEach((series, s) => {
    const x = (series.x || chart.x).map(place.x), y = scaled(series.y), colour = ' c' + s % colours;
    svg.append(make('svg:path', {class: 'curve' + colour, d: pathOf(x, y)}));
    if (!series.dots && x.length > 1) return;
    x.forEach((at, i) => y[i] !== null && svg.append(make('svg:circle', {class: 'dot' + colour, cx: at, cy: y[i], r: 3.2})));
  });
}

function draw(figure, svg, chart) {
  const width = figure.clientWidth, height = 190;
  if (!width) return;
  const range = rangeOf(chart), labels = ticks(...range, 4).map(value => format(value, chart.unit).length);
  const last = chart.x[chart.x.length - 1];
  const box = {left: 12 + 6.3 * Math.max(...labels), right: width - 10, top: 8, bottom: height - 34, range,
               domain: [0, Math.max(chart.last || 0, last, 2)]};
  box.width = box.right - box.left;
  const scale = (value, [low, high], from, to) => from + (value - low) / (high - low) * (to - from);
  const place = {x: value => scale(value, box.domain, box.left, box.right),
                 y: value => scale(value, range, box.bottom, box.top)};
  svg.replaceChildren();
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('height', height);
  drawAxes(svg, chart, place, box);
  drawCurves(svg, chart, place, box);
  svg.onpointermove = event => showValues(figure, svg, chart, place, box, event.clientX - svg.getBoundingClientRect().left);
  svg.onpointerleave = () => figure.querySelectorAll('.cursor, .tip').forEach(node => node.remove());
}

function showValues(figure, svg, chart, place, box, at) {
  svg.onpointerleave();
  let nearest = 0;
  chart.x.forEach((x, i) => { if (Math.abs(place.x(x) - at) < Math.abs(place.x(chart.x[nearest]) - at)) nearest = i; });
  const x = place.x(chart.x[nearest]), row = (name, value, colour) =>
    make('div', {class: colour}, name + '  ', make('b', {}, value));
  svg.append(make('svg:line', {class: 'cursor', x1: x, x2: x, y1: box.top, y2: box.bottom}));
  const tip = make('div', {class: 'tip'}, row('update', String(chart.x[nearest]), ''));
  chart.series.forEach((series, s) => tip.append(row(series.name, format(series.y[series.x ? series.x.indexOf(chart.x[nearest]) : nearest], chart.unit), 'c' + s % colours)));
  if (chart.band) {
    const ends = [chart.band.low[nearest], chart.band.high[nearest]].map(value => format(value, chart.unit));
    tip.append(row(chart.band.name, ends.join('–'), 'c0'));
  }
  figure.append(tip);
  tip.style.top = svg.getBoundingClientRect().top - figure.getBoundingClientRect().top + 4 + 'px';
  tip.style.left = (x + 12 + tip.offsetWidth > figure.clientWidth ? x - 12 - tip.offsetWidth : x + 12) + 'px';
}

function chartFigure(chart) {
  const svg = make('svg:svg', {role: 'img', 'aria-label': chart.title}), legend = make('div', {class: 'legend'});
  const key = (name, colour, kind) => legend.append(make('span', {}, make('i', {class: colour + ' ' + kind}), name));
  if (chart.series.length > 1 || chart.band || chart.lines) chart.series.forEach((s, i) => key(s.name, 'c' + i % colours, ''));
  if (chart.band) key(chart.band.name, 'c0', 'area');
  (chart.lines || []).forEach((line, i) => key(line.name + ' ' + format(line.y, chart.unit), 'c' + (i + 1) % colours, 'dash'));
  const unit = chart.unit === 'share' ? '%' : chart.unit;
  const figure = make('figure', {}, make('h4', {}, chart.title, unit ? make('small', {}, unit) : null), legend, svg,
                      chart.note ? make('figcaption', {}, chart.note) : null);
  new ResizeObserver(() => draw(figure, svg, chart)).observe(figure);
  return figure;
}

function fillStage(box) {
  const curves = data.stages[box.dataset.stage].curves;
  if (!curves) return;
  box.append(make('div', {class: 'charts'}, ...curves.main.map(chartFigure)));
  if (curves.bucket > 1) box.append(make('p', {class: 'note'}, `Each point is the mean of ${curves.bucket} updates.`));
  if (!curves.more.length) return;
  const more = make('details', {}, make('summary', {}, `${curves.more.length} more metrics`));
  more.addEventListener('toggle', () => more.append(make('div', {class: 'charts'}, ...curves.more.map(chartFigure))), {once: true});
  box.append(more);
}

// The darker a token, the less likely the policy thought it: full at a logprob of -4.
function textOf(completion) {
  const text = make('div', {class: 'text'});
  if (!completion.pieces) return text.append(completion.text), text;
  completion.pieces.forEach((piece, i) => {
    const logprob = completion.logprobs[i], strength = Math.min(1, -(logprob || 0) / 4);
    const span = make('span', {title: logprob === null ? '' : 'logprob ' + minus(logprob)}, piece);
    if (strength > 0.01) span.style.background = `rgba(var(--shade), ${(0.6 * strength).toFixed(3)})`;
    text.append(span);
  });
  return text;
}

function card(completion, title, aside) {
  const stop = completion.stop === 'length' ? 'cut by length' : null, mean = completion.logprob / (completion.tokens || 1);
  const facts = [`${completion.tokens} tokens`, `logprob ${fixed(completion.logprob, 2)}, mean ${fixed(mean, 3)}`, stop];
  const verdicts = completion.verdicts.map(verdict => make('li', {},
    make('b', {}, verdict.rule), ' ', make('span', {class: verdict.kind}, verdict.kind.replaceAll('_', ' ')),
    [0, 1, null].includes(verdict.score) ? '' : ' ' + format(verdict.score),
    verdict.reason ? make('span', {class: 'soft'}, ' — ' + verdict.reason) : null));
  return make('article', {class: 'card ' + (completion.ok ? 'right' : '')},
              make('header', {}, make('b', {}, title), make('span', {}, aside)), textOf(completion),
              make('ul', {class: 'verdicts'}, ...verdicts,
                   make('li', {class: 'soft'}, facts.filter(fact => fact).join(' · '))));
}

function problem(entry, more, cards) {
  const meta = [entry.task, entry.answer && 'reference answer ' + entry.answer, more].filter(part => part).join(' · ');
  return make('div', {class: 'problem'}, make('p', {class: 'prompt'}, entry.prompt), make('p', {class: 'meta'}, meta),
              make('div', {class: 'cards'}, ...cards));
}

function fillPrompts(box) {
  for (const entry of data.prompts) {
    box.append(problem(entry, '', entry.stages.map(at => card(at.completion, at.stage, `${at.correct} of ${at.samples} correct`))));
  }
}

function groupOf(group) {
  const cards = group.completions.map(completion => card(
    completion, completion.reward === undefined ? 'sample ' + completion.sample : 'reward ' + format(completion.reward),
    completion.advantage === undefined ? '' : 'advantage ' + signed(completion.advantage)));
  const hidden = group.samples - cards.length;
  return problem(group, `${group.correct} of ${group.samples} correct` + (hidden > 0 ? `, ${hidden} not shown` : ''), cards);
}

function fillRollouts(box) {
  data.rollouts.forEach((stage, i) => {
    const names = stage.rollouts.map(rollout => rollout.rollout).join(', ');
    const details = make('details', {class: 'stage'}, make('summary', {}, `${stage.stage}: rollouts ${names}`));
    details.addEventListener('toggle', () => {
      for (const rollout of stage.rollouts) {
        details.append(make('h4', {}, `Rollout ${rollout.rollout}`, make('small', {}, `of ${rollout.of} in ${stage.stage}`)),
                       ...rollout.groups.map(groupOf));
      }
    }, {once: true});
    details.open = i === 0;
    box.append(details);
  });
}

document.querySelectorAll('[data-stage]').forEach(fillStage);
const prompts = document.getElementById('prompts'), rollouts = document.getElementById('rollouts');
if (prompts) fillPrompts(prompts);
if (rollouts) fillRollouts(rollouts);
)js";

}  // namespace temper
