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

// By the kinds of spans of cli/report/timeline.cc: how a rank's row shows them, and the legend's words. A wait is
// an empty outline, so that a pipeline's bubbles are holes.
const kinds = [['phase', 'phases'], ['forward', 'forward'], ['backward', 'backward'], ['step', 'steps of the rollout'],
               ['message', 'messages'], ['wait', 'waits in the pipeline']];
const seconds = time => time < 1e3 ? format(time) + ' µs' : time < 1e6 ? format(time / 1e3) + ' ms' : format(time / 1e6) + ' s';

function drawTimeline(figure, svg, timeline) {
  const width = figure.clientWidth, left = 58, right = width - 4, row = 40, bottom = row * timeline.ranks.length + 4;
  if (!width) return;
  const x = time => left + (right - left) * time / timeline.microseconds;
  svg.replaceChildren();
  svg.setAttribute('viewBox', `0 0 ${width} ${bottom + 34}`);
  svg.setAttribute('height', bottom + 34);
  const text = (at, y, words, anchor) => make('svg:text', {x: at, y, 'text-anchor': anchor}, words);
  timeline.ranks.forEach((rank, i) => {
    svg.append(text(0, i * row + 24, 'rank ' + rank.rank, 'start'));
    for (const [kind, begin, length, name, count] of rank.spans) {
      const phase = kind === 0, low = kind === 4;
      const at = {x: x(begin), width: Math.max((right - left) * length / timeline.microseconds, 0.3)};
      const box = {y: i * row + (phase ? 4 : low ? 25 : 13), height: phase ? 7 : low ? 9 : 21, class: 'span ' + kinds[kind][0]};
      const times = count > 1 ? ` (${count} of them)` : '';
      svg.append(make('svg:rect', {...at, ...box}, make('svg:title', {}, `rank ${rank.rank}: ${name}${times}, ${seconds(length)} from ${seconds(begin)} on`)));
      if (phase && at.width > 5 * name.length + 8 && name !== 'update') svg.append(make('svg:text', {x: at.x + 3, y: i * row + 10.5, class: 'name'}, name));
    }
  });
  svg.append(make('svg:line', {class: 'axis', x1: left, x2: right, y1: bottom, y2: bottom}));
  for (const value of ticks(0, timeline.microseconds, Math.max(2, width / 140))) {
    svg.append(make('svg:line', {class: 'axis', x1: x(value), x2: x(value), y1: bottom, y2: bottom + 4}),
               text(x(value), bottom + 16, value === 0 ? '0' : seconds(value), value === 0 ? 'start' : 'middle'));
  }
}

function fillTimeline(box) {
  const svg = make('svg:svg', {role: 'img', 'aria-label': 'timeline of a step'}), legend = make('div', {class: 'legend'});
  const seen = new Set(data.timeline.ranks.flatMap(rank => rank.spans.map(span => span[0])));
  kinds.forEach(([kind, words], i) => seen.has(i) && legend.append(make('span', {}, make('i', {class: 'block ' + kind}), words)));
  const figure = make('figure', {}, legend, svg);
  new ResizeObserver(() => drawTimeline(figure, svg, data.timeline)).observe(figure);
  const share = value => format(value, 'share');
  box.append(figure, make('p', {class: 'note'}, data.timeline.ranks.map(rank =>
    `Rank ${rank.rank}: ${share(rank.messages)} of the time in messages` +
    (rank.waits ? `, ${share(rank.waits)} in waits for its neighbours in the pipeline.` : '.')).join(' ')));
}

document.querySelectorAll('[data-stage]').forEach(fillStage);
const prompts = document.getElementById('prompts'), rollouts = document.getElementById('rollouts');
if (prompts) fillPrompts(prompts);
if (rollouts) fillRollouts(rollouts);
const timeline = document.getElementById('timeline');
if (timeline) fillTimeline(timeline);
