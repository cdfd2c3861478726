// The page at "/": everything it knows it asks of the API beside it, and of nobody else.

const TEXTS = {
  en: {
    skip: "Skip to the look-up",
    claim: "Where is this IP address, and whose is it?",
    language: "Language", theme: "Colours", auto: "as the system", light: "light", dark: "dark",
    one: "One address", address: "IP address", look: "Look up", me: "My address",
    many: "Many addresses",
    paste: "Paste a log or a list: the addresses in it are looked up",
    lookall: "Look all up", filter: "Filter", csv: "Download CSV", json: "Download JSON",
    sources: "Databases", docs: "API reference",
    mapAt: "Map of the world with a mark at {place}",
    asking: "Asking …", noAddress: "There is no address in this text.",
    notAddress: "This is not an IP address.",
    unreachable: "The service can't be reached.",
    found: "{ip} looked up.",
    unknown: "No database knows this address.",
    caption: "{shown} of {all} addresses",
    captionCut: "{shown} of {all} addresses; the first {most} are shown",
    progress: "{done} of {all} addresses …",
    finished: "{all} addresses looked up.",
    radius: "within {km} km", days: "{days} days old", from: "from {source}",
    ip: "Address", count: "Count", kind: "Kind", network: "Network", country: "Country",
    country_code: "Country code", province: "Province", province_code: "Province code",
    city: "City", city_code: "City code", org: "Organisation", isp: "Provider",
    continent_code: "Continent", subdivision_code: "ISO 3166-2", district: "District",
    time_zone: "Time zone", postal_code: "Postal code", position: "Position", asn: "AS number",
    as_org: "AS organisation", error: "Error",
    node: "This node", watch: "Live figures",
    watching: "While this is open and the page is in view, the service is asked every 3 seconds.",
    rate: "Requests a second", rateIs: "{rate}, over {window} s", p50: "Half are answered within",
    p99: "99 of 100 within", workers: "Workers", workersAre: "{ready} of {configured} answer",
    restarts: "Replaced workers", uptime: "Running for", snapshot: "Snapshot",
    loaded: "In use since", nothing: "nothing yet", hours: "{hours} h {minutes} min",
  },
  zh: {
    skip: "跳到查询",
    claim: "这个 IP 地址在哪里，属于谁？",
    language: "语言", theme: "颜色", auto: "跟随系统", light: "浅色", dark: "深色",
    one: "单个地址", address: "IP 地址", look: "查询", me: "我的地址",
    many: "批量查询",
    paste: "粘贴日志或列表，其中的地址会逐一查询",
    lookall: "全部查询", filter: "筛选", csv: "下载 CSV", json: "下载 JSON",
    sources: "数据库", docs: "API 文档",
    mapAt: "世界地图，标记处为 {place}",
    asking: "查询中……", noAddress: "文本中没有 IP 地址。",
    notAddress: "这不是 IP 地址。",
    unreachable: "无法连接服务。",
    found: "已查询 {ip}。",
    unknown: "没有数据库收录此地址。",
    caption: "{all} 个地址中的 {shown} 个",
    captionCut: "{all} 个地址中的 {shown} 个，只显示前 {most} 个",
    progress: "已查询 {done} / {all} 个地址……",
    finished: "已查询 {all} 个地址。",
    radius: "误差 {km} 公里以内", days: "{days} 天前", from: "来源：{source}",
    ip: "地址", count: "次数", kind: "类型", network: "网段", country: "国家",
    country_code: "国家代码", province: "省份", province_code: "省份代码",
    city: "城市", city_code: "城市代码", org: "机构", isp: "运营商",
    continent_code: "大洲", subdivision_code: "ISO 3166-2", district: "区县",
    time_zone: "时区", postal_code: "邮编", position: "坐标", asn: "AS 号",
    as_org: "AS 机构", error: "错误",
    node: "本节点", watch: "实时指标",
    watching: "展开此栏且页面可见时，每 3 秒向服务查询一次。",
    rate: "每秒请求数", rateIs: "{rate}（最近 {window} 秒）", p50: "半数请求的处理时间不超过",
    p99: "99% 请求的处理时间不超过", workers: "工作进程", workersAre: "{configured} 个中 {ready} 个就绪",
    restarts: "已更换的工作进程", uptime: "已运行", snapshot: "快照",
    loaded: "启用时间", nothing: "暂无", hours: "{hours} 小时 {minutes} 分钟",
  },
};

// Fewer than the API takes in one request by default, so that progress can be seen.
const BATCH = 1000;
// More rows than that nobody reads, and a browser takes seconds to lay out.
const MOST_ROWS = 2000;

const FIELDS = [
  "kind", "network", "country", "country_code", "continent_code", "province", "province_code",
  "subdivision_code", "city", "city_code", "district", "postal_code", "time_zone", "org", "isp",
  "asn", "as_org",
];
const COLUMNS = [
  "ip", "count", "kind", "country", "province", "city", "isp", "asn", "as_org", "network",
];

const part = (id) => document.getElementById(id);
let language = "en";
let shown = null;
const rows = { asked: null, all: [], column: "count", down: true };

function text(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function element(name, content, more = {}) {
  const made = Object.assign(document.createElement(name), more);
  made.append(...[content].flat());
  return made;
}

function say(where, what, isBad = false) {
  part(where).textContent = what;
  part(where).classList.toggle("bad", isBad);
}

// Choices, kept for the next visit where the browser allows it

function kept(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

function keep(key, value) {
  try { localStorage.setItem(key, value); } catch { /* a private window */ }
}

function useLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  part("language").value = chosen;
  for (const one of document.querySelectorAll("[data-text]")) {
    one.textContent = text(one.dataset.text);
  }
  if (shown) show(shown);
  if (rows.all.length) draw();
  listSources();
  listFigures();
}

// Names of places are the API's: in another language they are asked for again.
function changeLanguage(chosen) {
  useLanguage(chosen);
  if (shown) lookUp(`v1/ip/${encodeURIComponent(shown.ip)}`);
  if (rows.asked) lookAllUp(rows.asked);
}

function useTheme(chosen) {
  part("theme").value = chosen;
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

// Asking

class Refused extends Error {}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" }, ...options });
  } catch {
    throw new Refused(text("unreachable"));
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(told(said) || said.message || `HTTP ${answer.status}`);
  return said;
}

// What a problem says (RFC 9457), of the most frequent one in the reader's language.
function told(problem) {
  if (problem.type?.endsWith("#problem-not-an-address")) return text("notAddress");
  return problem.detail || problem.title;
}

// One address

async function lookUp(path) {
  say("one-status", text("asking"));
  try {
    const found = await ask(`${path}?lang=${language}`);
    show(found);
    say("one-status", text(found.country_code || found.kind !== "public" ? "found" : "unknown", found));
  } catch (error) {
    refuse(error.message);
  }
}

function refuse(why) {
  shown = null;
  part("found").hidden = true;
  say("one-status", why, true);
}

function show(found) {
  shown = found;
  part("ip").value = found.ip;
  const list = [];
  for (const field of FIELDS) {
    if (found[field] === null || found[field] === undefined) continue;
    const value = [String(found[field])];
    const source = found.sources[field];
    if (source) value.push(" ", element("small", text("from", { source })));
    list.push(element("dt", text(field)), element("dd", value));
  }
  if (found.latitude !== null) {
    const radius = found.accuracy_radius;
    const near = radius === null ? "" : `, ${text("radius", { km: radius })}`;
    list.push(element("dt", text("position")));
    list.push(element("dd", `${found.latitude}, ${found.longitude}${near}`));
  }
  part("fields").replaceChildren(...list);
  const names = [found.city, found.province, found.country].filter(Boolean);
  const place = [...new Set(names)].join(language === "zh" ? "，" : ", ");
  mark(found, place);
  part("found").hidden = false;
}

function mark(found, place) {
  const isKnown = found.latitude !== null;
  // The map has five units to a degree.
  part("marker").setAttribute("transform", `translate(${found.longitude * 5} ${-found.latitude * 5})`);
  part("marker").toggleAttribute("hidden", !isKnown);
  part("figure").toggleAttribute("hidden", !isKnown);
  part("map-title").textContent = text("mapAt", { place });
  part("place").textContent = place;
}

// Many addresses

// Not the version in "Chrome/120.0.0.0"; a port may follow.
const V4 = /(?<![\w.]|\w\/)(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)/g;
const V6 = /(?<![\w.:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:(?:\.\d{1,3}){3})?(?![\w:])/gi;

// A time of day, as in 12:30:45, looks like the beginning of an IPv6 address.
function isV6(word) {
  return word.length > 2
    && (word.includes("::") || word.split(":").length === (word.includes(".") ? 7 : 8));
}

// How often each address stands in a text, in the order in which they first do.
function addressesIn(pasted) {
  const found = [];
  const rest = pasted.replace(V6, (word, at) => {
    if (!isV6(word)) return word;
    found.push([at, word]);
    return " ".repeat(word.length);
  });
  for (const match of rest.matchAll(V4)) found.push([match.index, match[0]]);
  const counts = new Map();
  for (const [, word] of found.sort(([one], [other]) => one - other)) {
    counts.set(word, (counts.get(word) || 0) + 1);
  }
  return counts;
}

async function lookAllUp(pasted) {
  const counts = addressesIn(pasted);
  if (!counts.size) {
    say("many-status", text("noAddress"), true);
    return;
  }
  const addresses = [...counts.keys()];
  const found = [];
  rows.asked = pasted;
  try {
    for (let begin = 0; begin < addresses.length; begin += BATCH) {
      say("many-status", text("progress", { done: begin, all: addresses.length }));
      const some = addresses.slice(begin, begin + BATCH);
      found.push(...await ask(`v1/batch?lang=${language}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json" },
        body: JSON.stringify(some),
      }));
    }
  } catch (error) {
    say("many-status", error.message, true);
    return;
  }
  rows.all = found.map((one, at) => ({ ...one, count: counts.get(addresses[at]) }));
  say("many-status", text("finished", { all: addresses.length }));
  draw();
  part("table-part").hidden = false;
}

function chosenRows() {
  const wanted = part("filter").value.trim().toLowerCase();
  const chosen = rows.all.filter((row) => !wanted
    || COLUMNS.some((column) => String(row[column] ?? "").toLowerCase().includes(wanted)));
  const { column, down } = rows;
  const collator = new Intl.Collator(document.documentElement.lang, { numeric: true });
  return chosen.sort((one, other) => {
    const order = collator.compare(String(one[column] ?? ""), String(other[column] ?? ""));
    return down ? -order : order;
  });
}

// Columns in which there is something.
function shownColumns() {
  return COLUMNS.filter((column) => rows.all.some((row) => (row[column] ?? "") !== ""));
}

function draw() {
  const chosen = chosenRows();
  const columns = shownColumns();
  const heads = columns.map((column) => {
    const button = element("button", text(column), { type: "button" });
    button.addEventListener("click", () => sortBy(column));
    const head = element("th", button, { scope: "col" });
    head.dataset.column = column;
    const order = rows.down ? "descending" : "ascending";
    head.setAttribute("aria-sort", rows.column === column ? order : "none");
    return head;
  });
  const lines = chosen.slice(0, MOST_ROWS).map((row) => element("tr", row.error
    ? [element("td", row.ip), element("td", String(row.count)), errorCell(row, columns.length - 2)]
    : columns.map((column) => element("td", String(row[column] ?? "")))));
  const table = part("table");
  table.tHead.replaceChildren(element("tr", heads));
  table.tBodies[0].replaceChildren(...lines);
  part("caption").textContent = text(chosen.length > MOST_ROWS ? "captionCut" : "caption", {
    shown: chosen.length, all: rows.all.length, most: MOST_ROWS,
  });
}

function errorCell(row, width) {
  const cell = element("td", told(row.error), { className: "bad" });
  // There may be nothing but addresses that are none.
  cell.colSpan = Math.max(width, 1);
  return cell;
}

function sortBy(column) {
  rows.down = rows.column === column ? !rows.down : false;
  rows.column = column;
  draw();
  part("table").querySelector(`th[data-column="${column}"] button`).focus();
}

// Downloads

function download(name, type, content) {
  const href = URL.createObjectURL(new Blob([content], { type }));
  const link = element("a", "", { download: name, href });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 0);
}

// RFC 4180; a cell that a spreadsheet would take for a formula gets an apostrophe before it.
function cell(value) {
  let written = String(value ?? "");
  if (/^[=+\-@\t\r]/.test(written)) written = `'${written}`;
  return /[",\r\n]/.test(written) ? `"${written.replaceAll('"', '""')}"` : written;
}

function toCsv() {
  const lines = [COLUMNS, ...chosenRows().map((row) => COLUMNS.map((column) => row[column]))];
  // With a byte order mark, spreadsheets read UTF-8.
  return `\ufeff${lines.map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}

// Databases

let databases = null;

function listSources() {
  if (!databases) return;
  part("sources").replaceChildren(...databases.sources.map((source) => {
    const told = [source.name];
    if (source.date) told.push(source.date);
    if (source.age_days !== null) told.push(text("days", { days: source.age_days }));
    if (source.licence) told.push(source.licence);
    const line = element("li", told.join(" · "));
    if (source.attribution) line.append(" · ", ...linked(source.attribution));
    return line;
  }));
}

// An address of the web in a text becomes a link.
function linked(said) {
  return said.split(/(https:\/\/[^\s)>]+)/).map((piece, at) => (
    at % 2 ? element("a", piece, { href: piece, rel: "noreferrer" }) : piece));
}

// This node: asked about only while somebody has opened the panel and sees the page

const PAUSE_MS = 3000;
let figures = null;
// Stands for the loop that asks: one that isn't in force any more ends.
let watch = null;

function startOrStop() {
  const isWanted = part("node")?.open && document.visibilityState === "visible";
  if (!isWanted) watch = null;
  else if (!watch) keepAsking(watch = {});
}

async function keepAsking(mine) {
  while (mine === watch) {
    let why = "";
    try {
      figures = await ask("v1/status");
      listFigures();
    } catch (error) {
      why = error.message;
    }
    // Only what is new is read out.
    if (part("node-status").textContent !== why) say("node-status", why, true);
    await new Promise((done) => { setTimeout(done, PAUSE_MS); });
  }
}

function listFigures() {
  if (!figures) return;
  const { workers, latency_seconds: latency, uptime_seconds: uptime } = figures;
  const rate = figures.requests_per_second;
  const told = {
    rate: rate === null ? text("nothing") : text("rateIs", {
      rate: rate.toLocaleString(document.documentElement.lang), window: figures.window_seconds,
    }),
    p50: duration(latency.p50),
    p99: duration(latency.p99),
    workers: text("workersAre", workers),
    restarts: String(workers.restarts),
    uptime: text("hours", {
      hours: Math.floor(uptime / 3600), minutes: Math.floor(uptime / 60) % 60,
    }),
    snapshot: figures.snapshot,
    loaded: new Date(figures.loaded).toLocaleString(document.documentElement.lang),
  };
  part("figures").replaceChildren(...Object.entries(told).flatMap(([name, value]) => (
    [element("dt", text(name)), element("dd", value)])));
}

function duration(seconds) {
  if (seconds === null) return text("nothing");
  if (seconds < 0.001) return `${Number((seconds * 1e6).toPrecision(2))} µs`;
  return seconds < 1 ? `${Number((seconds * 1e3).toPrecision(2))} ms` : `${seconds} s`;
}

// Beginning

part("one").addEventListener("submit", (event) => {
  event.preventDefault();
  const ip = part("ip").value.trim();
  // Anything else would be another path.
  if (/^[\da-f.:]+$/i.test(ip)) lookUp(`v1/ip/${encodeURIComponent(ip)}`);
  else refuse(text("notAddress"));
});
part("me").addEventListener("click", () => lookUp("v1/me"));
part("many").addEventListener("submit", (event) => {
  event.preventDefault();
  lookAllUp(part("text").value);
});
// It isn't there where figures are told at another address.
part("node")?.addEventListener("toggle", startOrStop);
document.addEventListener("visibilitychange", startOrStop);
part("filter").addEventListener("input", draw);
part("csv").addEventListener("click", () => download("ipquery.csv", "text/csv", toCsv()));
part("json").addEventListener("click", () => {
  download("ipquery.json", "application/json", JSON.stringify(chosenRows(), null, 2));
});
part("language").addEventListener("change", (event) => {
  keep("language", event.target.value);
  changeLanguage(event.target.value);
});
part("theme").addEventListener("change", (event) => {
  keep("theme", event.target.value);
  useTheme(event.target.value);
});

useTheme(kept("theme") || "auto");
useLanguage(kept("language") || (navigator.language.startsWith("zh") ? "zh" : "en"));
ask("v1/databases").then((said) => {
  databases = said;
  listSources();
}).catch((error) => part("sources").replaceChildren(element("li", error.message)));
