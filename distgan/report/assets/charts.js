"use strict";
// Draws every chart with plotly, which lies compressed in the page.
document.addEventListener("DOMContentLoaded", async () => {
  const drawn = JSON.parse(document.getElementById("drawn").textContent);
  const charts = new Map(drawn.charts.map((chart) => [chart.key, chart]));
  const places = [...document.querySelectorAll("[data-chart]")];
  const coarse = matchMedia("(pointer: coarse)").matches;

  async function unpack() {
    const packed = atob(document.getElementById("library").textContent.trim());
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  function look() {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue("--" + name).trim();
  }

  function lines(chart, color) {
    const traces = [];
    chart.series.forEach((one, group) => {
      const stroke = color("line-" + (one.color % 8));
      const common = { legendgroup: group, x: one.x, connectgaps: false };
      if (one.low.length) {
        const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
        traces.push({ ...common, ...edge, y: one.low });
        traces.push({ ...common, ...edge, y: one.high, fill: "tonexty", fillcolor: stroke + "2e" });
      }
      traces.push({
        ...common,
        y: one.y,
        name: one.name,
        mode: one.x.length < 12 ? "lines+markers" : "lines",
        line: { color: stroke, width: 1.8, dash: one.dash, shape: one.shape || "linear" },
        marker: { size: 5, color: stroke },
        hovertemplate: chart.scale === "share" ? "%{y:.1%}" : "%{y:.4g}",
      });
    });
    return traces;
  }

  // Behind the curves of one run; for several, a lane for each along the upper edge.
  function bands(chart, color) {
    if (!chart.health) return [];
    const alone = drawn.bands.length === 1;
    return drawn.bands.flatMap((spans, run) =>
      spans.map(([x0, x1, state]) => ({
        type: "rect",
        layer: "below",
        yref: "paper",
        x0,
        x1,
        y0: alone ? 0 : 1.02 + 0.045 * (drawn.bands.length - 1 - run),
        y1: alone ? 1 : 1.05 + 0.045 * (drawn.bands.length - 1 - run),
        line: { width: 0 },
        fillcolor: color("state-" + state),
        opacity: alone ? (state === "healthy" ? 0.1 : 0.24) : 0.9,
      })));
  }

  function layout(chart, color) {
    const axis = { gridcolor: color("grid"), zeroline: false, linecolor: color("grid") };
    const lanes = chart.health && drawn.bands.length > 1 ? drawn.bands.length : 0;
    return {
      height: 250,
      // The left one grows where an axis has long numbers; half of a last label is beyond the axis.
      margin: { l: 48, r: 26, t: 8 + 10 * lanes, b: 30 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("soft") },
      hovermode: "x unified",
      hoverlabel: {
        bgcolor: color("card"), bordercolor: color("edge"), font: { color: color("text") },
      },
      dragmode: coarse ? false : "zoom",
      showlegend: false,
      shapes: bands(chart, color),
      xaxis: {
        ...axis,
        tickformat: "~s",
        unifiedhovertitle: { text: "%{x:,d} images" },
        spikecolor: color("soft"),
        spikedash: "solid",
        spikethickness: -1,
        nticks: innerWidth < 600 ? 4 : 8,
        tickangle: 0,
        fixedrange: coarse,
      },
      yaxis: {
        ...axis,
        type: chart.scale === "log" ? "log" : "linear",
        // As many digits as tell two ticks apart, and no more.
        tickformat: { share: "~%", log: "~g" }[chart.scale] || "",
        automargin: true,
        exponentformat: "none",
        nticks: 5,
        rangemode: chart.scale === "share" ? "tozero" : "normal",
        fixedrange: true,
      },
    };
  }

  function legend(place, chart) {
    const list = place.parentElement.querySelector(".legend");
    chart.series.forEach((one, group) => {
      const button = document.createElement("button");
      const mark = document.createElement("i");
      mark.className = "mark " + one.dash;
      mark.style.setProperty("--mark", "var(--line-" + (one.color % 8) + ")");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.append(mark, one.name);
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        const mine = place.data.flatMap((trace, n) => (trace.legendgroup === group ? [n] : []));
        Plotly.restyle(place, { visible: shown }, mine);
      });
      list.append(button);
    });
  }

  async function draw() {
    const color = look();
    for (const place of places) {
      const chart = charts.get(place.dataset.chart);
      const options = { responsive: true, displayModeBar: false };
      const common = layout(chart, color);
      const kind = chart.kind && PLOTS[chart.kind];
      const traces = kind ? kind.traces(chart, color) : lines(chart, color);
      await Plotly.react(place, traces, kind ? kind.layout(common, chart, color) : common, options);
    }
  }

  if (places.length) {
    await unpack();
    for (const place of places) {
      const chart = charts.get(place.dataset.chart);
      if (!chart.kind) legend(place, chart);
    }
    await draw();
    document.addEventListener("theme", draw);
  }
  document.body.dataset.ready = "yes";
});
