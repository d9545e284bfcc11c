//! Writes SVG: shapes and texts with classes, and the style that gives these their colours in
//! light and dark surroundings.

use std::fmt::Write as _;

/// Series and bars have so many colours, in turns.
pub(super) const COLOURS: usize = 6;

/// Each colour in light and in dark surroundings; a blue, an orange, a green, a violet, a pink, a
/// grey, told apart by people who see red and green alike.
const PALETTE: [(&str, &str); COLOURS] = [
    ("#0b6bb8", "#62b0f0"),
    ("#c4501b", "#f39a63"),
    ("#1f8a5b", "#5fcc98"),
    ("#7b4fb3", "#bd9bea"),
    ("#b83a78", "#ee8fbd"),
    ("#66707a", "#a9b2bb"),
];

/// Where a text is, by the point that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing that grows.
pub(super) struct Svg {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        Self { width, height, title: escape(title), body: String::new() }
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.element(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    pub(super) fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut text = String::new();
        for (x, y) in points {
            write!(text, "{x:.1},{y:.1} ").expect("a string takes any text");
        }
        let points = text.trim_end();
        self.element(format_args!(r#"<polyline class="{class}" points="{points}"/>"#));
    }

    pub(super) fn circle(&mut self, class: &str, (x, y): (f64, f64)) {
        self.element(format_args!(r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="3.2"/>"#));
    }

    /// A rectangle by its upper left corner and its size.
    pub(super) fn rectangle(&mut self, class: &str, (x, y): (f64, f64), size: (f64, f64)) {
        let (width, height) = size;
        self.element(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        ));
    }

    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let text = escape(text);
        let anchor = anchor_name(anchor);
        self.element(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    /// A text that is read from below.
    pub(super) fn upright(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let text = escape(text);
        self.element(format_args!(
            r#"<text class="{class}" transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="middle">{text}</text>"#
        ));
    }

    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string takes any text");
    }

    /// The whole file.
    pub(super) fn finish(self) -> String {
        let Self { width, height, title, body } = self;
        let style = style();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n\
             <style>\n{style}</style>\n\
             <rect class=\"ground\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n{body}</svg>\n"
        )
    }
}

fn anchor_name(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    }
}

/// Light is the rule and dark the exception, so that a program that knows no media queries shows
/// the light one. The ground is part of the picture: it is readable wherever it is put.
fn style() -> String {
    let mut style = String::from(
        "text{font:12px system-ui,-apple-system,\"Segoe UI\",\"DejaVu Sans\",sans-serif}\n\
         .title{font-size:15px;font-weight:600}\n\
         .value{font-size:11px}\n\
         .dashed{stroke-dasharray:7 4}\n\
         .dotted{stroke-dasharray:2 3}\n\
         .axis{stroke-width:1}\n\
         .grid{stroke-width:1}\n",
    );
    let sheet = |ground: &str, ink: &str, faint: &str, grid: &str| {
        format!(
            ".ground{{fill:{ground}}}\n.title,.name,.value{{fill:{ink}}}\n.faint{{fill:{faint}}}\n\
             .axis{{stroke:{faint}}}\n.grid{{stroke:{grid}}}\n.whisker{{stroke:{ink};stroke-width:1}}\n"
        )
    };
    let colours = |of: fn(&(&'static str, &'static str)) -> &'static str, ground: &str| {
        let mut text = String::new();
        for (number, pair) in PALETTE.iter().enumerate() {
            let colour = of(pair);
            write!(
                text,
                ".line{number}{{stroke:{colour};stroke-width:2;fill:none}}\n\
                 .area{number},.point{number}{{fill:{colour}}}\n\
                 .hollow{number}{{fill:{ground};stroke:{colour};stroke-width:1.5}}\n"
            )
            .expect("a string takes any text");
        }
        text
    };
    style += &sheet("#ffffff", "#1c2126", "#59626b", "#e2e6ea");
    style += &colours(|pair| pair.0, "#ffffff");
    style += "@media (prefers-color-scheme:dark){\n";
    style += &sheet("#15181c", "#e8eaec", "#a7afb7", "#2d333a");
    style += &colours(|pair| pair.1, "#15181c");
    style += "}\n";
    style
}

/// The text as XML takes it, without characters that XML has no place for.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            control if control.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_text_stays_text() {
        assert_eq!(escape("a<b & \"c\">\n\u{0}\u{1b}d"), "a&lt;b &amp; &quot;c&quot;&gt; d");
    }

    #[test]
    fn a_file_is_whole_and_has_both_surroundings() {
        let mut svg = Svg::new(100.0, 50.0, "CPU <s>");
        svg.text("name", (1.0, 2.0), Anchor::End, "a & b");
        svg.path("line0", &[(0.0, 0.0), (1.5, 2.0)]);
        let text = svg.finish();
        assert!(text.starts_with("<svg xmlns=") && text.ends_with("</svg>\n"), "{text}");
        assert!(text.contains("<title>CPU &lt;s&gt;</title>"), "{text}");
        assert!(text.contains(r#"text-anchor="end">a &amp; b</text>"#), "{text}");
        assert!(text.contains(r#"points="0.0,0.0 1.5,2.0""#), "{text}");
        assert!(text.contains("prefers-color-scheme:dark"), "{text}");
    }
}
