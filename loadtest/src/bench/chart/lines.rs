//! Lines over an axis.

use super::scale::{Growth, Scale, short};
use super::svg::{Anchor, COLOURS, Svg};
use super::{Head, Key, LEADING, MARGIN, WIDTH, width_of};

/// Height of the part with the lines.
const HEIGHT: f64 = 330.0;

/// An axis.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Axis {
    label: String,
    growth: Growth,
}

impl Axis {
    /// Equal steps, from zero. The label names the unit.
    pub(in crate::bench) fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), growth: Growth::Linear }
    }

    /// Equal factors. The label names the unit.
    pub(in crate::bench) fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), growth: Growth::Logarithmic }
    }
}

/// How a line is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Dash {
    /// Not at all.
    Solid,
    /// Into dashes.
    Dashed,
    /// Into dots.
    Dotted,
}

/// A figure over another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::bench) struct Point {
    /// Along.
    pub(in crate::bench) x: f64,
    /// Up.
    pub(in crate::bench) y: f64,
    /// Least and most, where it is a median.
    pub(in crate::bench) range: Option<(f64, f64)>,
    /// Whether it does not count, and is drawn hollow.
    pub(in crate::bench) void: bool,
}

impl Point {
    /// A figure that counts.
    pub(in crate::bench) fn new(x: f64, y: f64) -> Self {
        Self { x, y, range: None, void: false }
    }
}

/// A line through points.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Series {
    /// What the legend says.
    pub(in crate::bench) name: String,
    /// Which colour; equal ones belong together.
    pub(in crate::bench) colour: usize,
    /// How the line is broken.
    pub(in crate::bench) dash: Dash,
    /// The points in the order of the line.
    pub(in crate::bench) points: Vec<Point>,
    /// Whether each point is marked; else only the line is seen.
    pub(in crate::bench) marked: bool,
}

/// A chart of lines.
#[derive(Debug, Clone)]
pub(in crate::bench) struct LineChart {
    /// What it shows.
    pub(in crate::bench) title: String,
    /// How that was measured.
    pub(in crate::bench) notes: Vec<String>,
    /// Along.
    pub(in crate::bench) x: Axis,
    /// Up.
    pub(in crate::bench) y: Axis,
    /// The lines.
    pub(in crate::bench) series: Vec<Series>,
}

/// The rectangle that lines are drawn into.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Scale,
    y: Scale,
}

impl Plot {
    fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.along(x)?, self.up(y)?))
    }

    fn along(&self, x: f64) -> Option<f64> {
        self.x.place(x).map(|place| self.left + place * (self.right - self.left))
    }

    fn up(&self, y: f64) -> Option<f64> {
        self.y.place(y).map(|place| self.bottom - place * (self.bottom - self.top))
    }
}

impl LineChart {
    /// The chart as an SVG file.
    pub(in crate::bench) fn svg(&self) -> String {
        let head = Head { title: &self.title, notes: &self.notes, legend: self.legend() };
        let points = || self.series.iter().flat_map(|series| &series.points);
        let heights = points().flat_map(|point| {
            let (low, high) = point.range.unwrap_or((point.y, point.y));
            [point.y, low, high]
        });
        let x = Scale::around(self.x.growth, points().map(|point| point.x));
        let y = Scale::around(self.y.growth, heights);
        let widest = y.ticks().into_iter().map(|tick| width_of(&short(tick))).fold(0.0, f64::max);
        let top = head.height();
        let plot = Plot {
            left: MARGIN + LEADING + widest + 8.0,
            right: WIDTH - MARGIN - 12.0,
            top,
            bottom: top + HEIGHT,
            x,
            y,
        };
        let mut svg = Svg::new(WIDTH, plot.bottom + 2.5 * LEADING + 6.0, &self.title);
        head.draw(&mut svg);
        self.draw_axes(&mut svg, &plot);
        for series in &self.series {
            draw_series(&mut svg, &plot, series);
        }
        svg.finish()
    }

    fn legend(&self) -> Vec<(Key, &str)> {
        let series = self.series.iter();
        let mut legend: Vec<_> =
            series.map(|one| (Key::Line(class_of(one)), one.name.as_str())).collect();
        if self.series.iter().flat_map(|series| &series.points).any(|point| point.void) {
            legend.push((Key::Point("hollow5".to_owned()), "void: does not count"));
        }
        legend
    }

    fn draw_axes(&self, svg: &mut Svg, plot: &Plot) {
        for tick in plot.y.ticks() {
            let Some(y) = plot.up(tick) else { continue };
            svg.line("grid", (plot.left, y), (plot.right, y));
            svg.text("faint", (plot.left - 7.0, y + 4.0), Anchor::End, &short(tick));
        }
        for tick in plot.x.ticks() {
            let Some(x) = plot.along(tick) else { continue };
            svg.line("grid", (x, plot.top), (x, plot.bottom));
            svg.text("faint", (x, plot.bottom + 16.0), Anchor::Middle, &short(tick));
        }
        svg.line("axis", (plot.left, plot.bottom), (plot.right, plot.bottom));
        svg.line("axis", (plot.left, plot.top), (plot.left, plot.bottom));
        let middle = f64::midpoint(plot.left, plot.right);
        let below = (middle, plot.bottom + 2.0 * LEADING + 2.0);
        svg.text("name", below, Anchor::Middle, &self.x.label);
        let beside = (MARGIN + 8.0, f64::midpoint(plot.top, plot.bottom));
        svg.upright("name", beside, &self.y.label);
    }
}

fn class_of(series: &Series) -> String {
    let dash = match series.dash {
        Dash::Solid => "",
        Dash::Dashed => " dashed",
        Dash::Dotted => " dotted",
    };
    format!("line{}{dash}", series.colour % COLOURS)
}

fn draw_series(svg: &mut Svg, plot: &Plot, series: &Series) {
    let colour = series.colour % COLOURS;
    let line: Vec<_> = series.points.iter().filter_map(|at| plot.place(at.x, at.y)).collect();
    if line.len() > 1 {
        svg.path(&class_of(series), &line);
    }
    for point in series.points.iter().filter(|_| series.marked) {
        let Some(at) = plot.place(point.x, point.y) else { continue };
        if let Some((low, high)) = point.range
            && let (Some(low), Some(high)) = (plot.up(low), plot.up(high))
        {
            svg.line("whisker", (at.0, low), (at.0, high));
        }
        let class = if point.void { format!("hollow{colour}") } else { format!("point{colour}") };
        svg.circle(&class, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<Point>) -> LineChart {
        let series = Series {
            name: "p50 of <edge>".to_owned(),
            colour: 0,
            dash: Dash::Dashed,
            points,
            marked: true,
        };
        LineChart {
            title: "Latency".to_owned(),
            notes: vec!["how".to_owned()],
            x: Axis::logarithmic("connections"),
            y: Axis::linear("milliseconds"),
            series: vec![series],
        }
    }

    #[test]
    fn axes_name_their_units_and_lines_their_names() {
        let svg = chart(vec![Point::new(1.0, 0.5), Point::new(100.0, 1.0)]).svg();
        for text in ["Latency", "how", "connections", "milliseconds", "p50 of &lt;edge&gt;"] {
            assert!(svg.contains(&format!(">{text}</text>")), "{text} in {svg}");
        }
        assert_eq!(svg.matches("<polyline class=\"line0 dashed\"").count(), 1);
        assert_eq!(svg.matches("<circle class=\"point0\"").count(), 2);
        assert!(!svg.contains("void"), "{svg}");
    }

    #[test]
    fn a_void_point_is_hollow_and_explained() {
        let void = Point { void: true, range: Some((0.4, 0.6)), ..Point::new(1.0, 0.5) };
        let svg = chart(vec![void]).svg();
        assert_eq!(svg.matches("<circle class=\"hollow0\"").count(), 1);
        assert_eq!(svg.matches("<line class=\"whisker\"").count(), 1);
        assert!(svg.contains("void: does not count"), "{svg}");
    }

    #[test]
    fn what_no_axis_can_show_is_left_out() {
        let svg = chart(vec![Point::new(0.0, f64::NAN), Point::new(10.0, f64::INFINITY)]).svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(!svg.contains("<circle") && !svg.contains("<polyline"), "{svg}");
    }
}
