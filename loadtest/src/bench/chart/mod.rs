//! Charts as SVG, with nothing but what the benchmark's figures need: lines over an axis, and bars
//! side by side with marks across them.

mod bars;
mod lines;
mod scale;
mod svg;

pub(super) use bars::{Bar, BarChart, Group, Mark};
pub(super) use lines::{Axis, Dash, LineChart, Point, Series};

use svg::{Anchor, Svg};

/// Width of every chart; height follows from what is in it.
const WIDTH: f64 = 860.0;
const MARGIN: f64 = 20.0;
/// From one line of text to the next.
const LEADING: f64 = 18.0;
/// What a character of an axis' or a legend's text takes, about.
const CHARACTER: f64 = 6.8;

/// What stands above every chart.
struct Head<'a> {
    title: &'a str,
    /// What was measured, in a line or two.
    notes: &'a [String],
    legend: Vec<(Key, &'a str)>,
}

/// How a legend shows what an entry stands for.
enum Key {
    /// A line of this class.
    Line(String),
    /// An area of this class.
    Area(String),
    /// A point of this class.
    Point(String),
}

impl Head<'_> {
    /// Entries of the legend by their rows, each with its distance from the left.
    fn rows(&self) -> Vec<Vec<(f64, usize)>> {
        let mut rows = vec![Vec::new()];
        let mut x = MARGIN;
        for (index, (_, name)) in self.legend.iter().enumerate() {
            let width = 34.0 + width_of(name) + 18.0;
            if x > MARGIN && x + width > WIDTH - MARGIN {
                rows.push(Vec::new());
                x = MARGIN;
            }
            rows.last_mut().expect("there is a first row").push((x, index));
            x += width;
        }
        rows.retain(|row| !row.is_empty());
        rows
    }

    /// Height of all of it.
    fn height(&self) -> f64 {
        let lines = self.notes.len() + self.rows().len();
        MARGIN + LEADING + lines_height(lines) + 10.0
    }

    fn draw(&self, svg: &mut Svg) {
        let mut y = MARGIN + 8.0;
        svg.text("title", (MARGIN, y), Anchor::Start, self.title);
        for note in self.notes {
            y += LEADING;
            svg.text("faint", (MARGIN, y), Anchor::Start, note);
        }
        for row in self.rows() {
            y += LEADING + 2.0;
            for (x, index) in row {
                let (key, name) = &self.legend[index];
                match key {
                    Key::Line(class) => svg.line(class, (x, y - 4.0), (x + 28.0, y - 4.0)),
                    Key::Area(class) => svg.rectangle(class, (x + 8.0, y - 10.0), (12.0, 12.0)),
                    Key::Point(class) => svg.circle(class, (x + 14.0, y - 4.0)),
                }
                svg.text("name", (x + 34.0, y), Anchor::Start, name);
            }
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a chart has few lines")]
fn lines_height(lines: usize) -> f64 {
    lines as f64 * (LEADING + 2.0)
}

#[allow(clippy::cast_precision_loss, reason = "a text has few characters")]
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}
