//! Bars side by side, in groups, with marks across each group.

use super::scale::{Growth, Scale, short};
use super::svg::{Anchor, COLOURS, Svg};
use super::{Head, Key, LEADING, MARGIN, WIDTH, width_of};

/// Height of a bar with the gap below it.
const BAR: f64 = 24.0;
const GAP: f64 = 16.0;
/// Room for the figure behind the longest bar.
const VALUE: f64 = 56.0;

/// A bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::bench) struct Bar {
    /// Whose it is: an index into the chart's names.
    pub(in crate::bench) name: usize,
    /// Its length.
    pub(in crate::bench) value: f64,
    /// Least and most, where it is a median.
    pub(in crate::bench) range: Option<(f64, f64)>,
}

/// A mark across all bars of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::bench) struct Mark {
    /// What it marks: an index into the chart's marks.
    pub(in crate::bench) name: usize,
    /// Where.
    pub(in crate::bench) value: f64,
}

/// Bars that are compared.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Group {
    /// What they have in common.
    pub(in crate::bench) label: String,
    /// One below the other.
    pub(in crate::bench) bars: Vec<Bar>,
    /// Across them.
    pub(in crate::bench) marks: Vec<Mark>,
}

/// A chart of bars.
#[derive(Debug, Clone)]
pub(in crate::bench) struct BarChart {
    /// What it shows.
    pub(in crate::bench) title: String,
    /// How that was measured.
    pub(in crate::bench) notes: Vec<String>,
    /// What length means, with its unit.
    pub(in crate::bench) axis: String,
    /// Whose bars there are.
    pub(in crate::bench) names: Vec<String>,
    /// What is marked.
    pub(in crate::bench) marks: Vec<String>,
    /// The bars.
    pub(in crate::bench) groups: Vec<Group>,
}

/// From figures to distances from the left.
struct Along {
    left: f64,
    right: f64,
    scale: Scale,
}

impl Along {
    fn place(&self, value: f64) -> Option<f64> {
        self.scale.place(value).map(|place| self.left + place * (self.right - self.left))
    }
}

impl BarChart {
    /// The chart as an SVG file.
    pub(in crate::bench) fn svg(&self) -> String {
        let head = Head { title: &self.title, notes: &self.notes, legend: self.legend() };
        let bars = self.groups.iter().flat_map(|group| &group.bars);
        let values =
            bars.flat_map(|bar| [bar.value, bar.range.map_or(bar.value, |(_, most)| most)]);
        let marks = self.groups.iter().flat_map(|group| &group.marks).map(|mark| mark.value);
        let labels = self.groups.iter().map(|group| width_of(&group.label));
        let along = Along {
            left: MARGIN + labels.fold(40.0, f64::max) + 12.0,
            right: WIDTH - MARGIN - VALUE,
            scale: Scale::around(Growth::Linear, values.chain(marks)),
        };
        let top = head.height();
        let bottom = top + self.groups.iter().map(height_of).sum::<f64>() + GAP;
        let mut svg = Svg::new(WIDTH, bottom + 2.5 * LEADING + 6.0, &self.title);
        head.draw(&mut svg);
        self.draw_axis(&mut svg, &along, top, bottom);
        let mut y = top + GAP;
        for group in &self.groups {
            draw_group(&mut svg, &along, group, y);
            y += height_of(group);
        }
        svg.finish()
    }

    fn legend(&self) -> Vec<(Key, &str)> {
        let names =
            self.names.iter().enumerate().map(|(number, name)| {
                (Key::Area(format!("area{}", number % COLOURS)), name.as_str())
            });
        let marks = self
            .marks
            .iter()
            .enumerate()
            .map(|(number, name)| (Key::Line(mark_class(number)), name.as_str()));
        names.chain(marks).collect()
    }

    fn draw_axis(&self, svg: &mut Svg, along: &Along, top: f64, bottom: f64) {
        for tick in along.scale.ticks() {
            let Some(x) = along.place(tick) else { continue };
            svg.line("grid", (x, top), (x, bottom));
            svg.text("faint", (x, bottom + 16.0), Anchor::Middle, &short(tick));
        }
        svg.line("axis", (along.left, top), (along.left, bottom));
        let middle = f64::midpoint(along.left, along.right);
        svg.text("name", (middle, bottom + 2.0 * LEADING + 2.0), Anchor::Middle, &self.axis);
    }
}

fn height_of(group: &Group) -> f64 {
    group.bars.iter().map(|_| BAR).sum::<f64>().max(BAR) + GAP
}

/// Marks have the colours that bars do not begin with, and lines of their own.
fn mark_class(number: usize) -> String {
    let dash = ["", " dashed", " dotted"][number % 3];
    format!("line{}{dash}", COLOURS - 1 - number % COLOURS)
}

fn draw_group(svg: &mut Svg, along: &Along, group: &Group, top: f64) {
    let height = height_of(group) - GAP;
    let label = (along.left - 10.0, top + height / 2.0 + 3.0);
    svg.text("name", label, Anchor::End, &group.label);
    let mut y = top;
    for bar in &group.bars {
        let Some(end) = along.place(bar.value) else { continue };
        let class = format!("area{}", bar.name % COLOURS);
        let thickness = BAR - 4.0;
        svg.rectangle(&class, (along.left, y), (end - along.left, thickness));
        let mut behind = end;
        if let Some((least, most)) = bar.range
            && let (Some(least), Some(most)) = (along.place(least), along.place(most))
        {
            let middle = y + thickness / 2.0;
            svg.line("whisker", (least, middle), (most, middle));
            for end in [least, most] {
                svg.line("whisker", (end, middle - 4.0), (end, middle + 4.0));
            }
            behind = most;
        }
        let at = (behind + 7.0, y + thickness / 2.0 + 4.0);
        svg.text("value", at, Anchor::Start, &short(bar.value));
        y += BAR;
    }
    for mark in &group.marks {
        if let Some(x) = along.place(mark.value) {
            svg.line(&mark_class(mark.name), (x, top - 4.0), (x, top + height));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_their_names_figures_and_ranges() {
        let bar = |name, value, range| Bar { name, value, range };
        let group = Group {
            label: "512 spans".to_owned(),
            bars: vec![bar(0, 0.45, Some((0.44, 0.5))), bar(1, 5.1, None)],
            marks: vec![Mark { name: 0, value: 0.14 }],
        };
        let chart = BarChart {
            title: "CPU".to_owned(),
            notes: Vec::new(),
            axis: "CPU-seconds a million spans".to_owned(),
            names: vec!["edge".to_owned(), "otelcol".to_owned()],
            marks: vec!["raw TCP".to_owned()],
            groups: vec![group],
        };
        let svg = chart.svg();
        let texts = ["512 spans", "0.45", "5.1", "edge", "otelcol", "raw TCP"];
        for text in texts.into_iter().chain([chart.axis.as_str()]) {
            assert!(svg.contains(&format!(">{text}</text>")), "{text} in {svg}");
        }
        assert_eq!(svg.matches("<line class=\"whisker\"").count(), 3);
        // In the legend and across the group.
        assert_eq!(svg.matches("<line class=\"line5\"").count(), 2);
    }

    #[test]
    fn a_chart_of_nothing_is_a_chart() {
        let chart = BarChart {
            title: String::new(),
            notes: Vec::new(),
            axis: String::new(),
            names: Vec::new(),
            marks: Vec::new(),
            groups: Vec::new(),
        };
        assert!(chart.svg().ends_with("</svg>\n"));
    }
}
