"use strict";
// Kinds of chart that are not curves over images; charts.js draws them.
const PLOTS = {
  // Each trial a line through its settings to what it reached: plain SVG, since plotly's own
  // parallel coordinates want WebGL, which not every browser gives.
  parallel: {
    traces(chart, color) {
      const { axes, trials } = chart.data;
      const mix = (share) =>
        `color-mix(in oklab, ${color("line-0")} ${100 - 100 * share}%, ${color("line-1")})`;
      const paint = document.createElement("canvas").getContext("2d");
      const plain = (text) => ((paint.fillStyle = text), paint.fillStyle);
      return trials.map((trial) => ({
        x: axes.map((_, place) => place),
        y: trial.heights,
        name: trial.name,
        mode: "lines",
        line: { color: plain(mix(trial.shade)), width: 2, shape: "spline", smoothing: 0.4 },
        opacity: 0.85,
        text: trial.texts,
        hovertemplate: "%{text}<extra>%{fullData.name}</extra>",
      }));
    },
    layout(common, chart, color) {
      const { axes } = chart.data;
      const note = (place, tick) => ({
        x: place, y: tick.at, text: tick.text, showarrow: false, xanchor: "left", xshift: 4,
        font: { size: 10, color: color("soft") }, bgcolor: color("card"), opacity: 0.85,
      });
      return {
        ...common,
        height: 360,
        hovermode: "closest",
        margin: { l: 24, r: 72, t: 16, b: 56 },
        xaxis: {
          ...common.xaxis, showgrid: true, gridcolor: color("edge"), showspikes: false,
          range: [-0.1, axes.length - 0.7], tickvals: axes.map((_, place) => place),
          ticktext: axes.map((axis) => axis.label), tickformat: "", fixedrange: true,
        },
        yaxis: { ...common.yaxis, visible: false, type: "linear", range: [-0.06, 1.06] },
        annotations: axes.flatMap((axis, place) => axis.ticks.map((tick) => note(place, tick))),
      };
    },
  },

  bars: {
    traces: (chart, color) => [{
      type: "bar",
      orientation: "h",
      y: chart.data.names,
      x: chart.data.values,
      marker: { color: color("line-0") },
      hovertemplate: "%{x:+.2f}<extra></extra>",
    }],
    layout: (common, chart, color) => ({
      ...common,
      hovermode: "closest",
      height: 60 + 24 * chart.data.names.length,
      margin: { ...common.margin, l: 130 },
      xaxis: { ...common.xaxis, range: [-1, 1], tickformat: "+.1f", showspikes: false },
      yaxis: { ...common.yaxis, type: "category", autorange: "reversed", nticks: 0, tickformat: "" },
      shapes: [-1, 1].map((side) => ({
        type: "line", yref: "paper", y0: 0, y1: 1, x0: side * chart.data.chance,
        x1: side * chart.data.chance, line: { color: color("soft"), width: 1, dash: "dot" },
      })),
    }),
  },
};
