//! A metrics page: Prometheus' text format, read.

use std::net::SocketAddr;

use super::{TestbedError, http};

/// One line of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Labels in their order.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty if there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }
}

/// A page that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    samples: Vec<Sample>,
}

impl Page {
    /// Asks `address` for its page.
    ///
    /// # Errors
    /// When there is no page, or one that cannot be read.
    pub async fn fetch(address: SocketAddr) -> Result<Self, TestbedError> {
        let (status, text) = http::get(address, "/metrics").await?;
        if status != 200 {
            return Err(TestbedError::new(format!("http://{address}/metrics: status {status}")));
        }
        Self::parse(&text).map_err(|line| {
            TestbedError::new(format!("http://{address}/metrics: bad line: {line}"))
        })
    }

    /// Reads a page.
    ///
    /// # Errors
    /// With the first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim);
        let samples = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| parse_sample(line).ok_or_else(|| line.to_owned()));
        Ok(Self { samples: samples.collect::<Result<_, _>>()? })
    }

    /// Adds the samples of another page.
    pub fn append(&mut self, mut other: Page) {
        self.samples.append(&mut other.samples);
    }

    /// All samples of the metric `name`, with or without a counter's suffix.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name.strip_prefix(name).is_some_and(|rest| matches!(rest, "" | "_total"))
        })
    }

    /// The sum over all series of `name`; 0 if there are none.
    pub fn sum(&self, name: &str) -> u64 {
        self.sum_where(name, |_| true)
    }

    /// The sum over those series of `name` that `wanted` accepts.
    pub fn sum_where(&self, name: &str, wanted: impl Fn(&Sample) -> bool) -> u64 {
        let sum: f64 = self.series(name).filter(|sample| wanted(sample)).map(|s| s.value).sum();
        whole(sum)
    }
}

/// A count as an integer.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole, not negative and below 2^53"
)]
pub fn whole(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

/// `name{label="value",…} 1.5 [timestamp]`
fn parse_sample(line: &str) -> Option<Sample> {
    let (name, rest) = match line.find(['{', ' '])? {
        end if line.as_bytes()[end] == b'{' => line.split_at_checked(end)?,
        end => (line.get(..end)?, line.get(end..)?),
    };
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = match rest.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

type Labels = Vec<(String, String)>;

/// Reads up to the closing brace and gives what stands behind it.
fn parse_labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        loop {
            match characters.next()? {
                (end, '"') => {
                    rest = quoted.get(end + 1..)?;
                    break;
                }
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        }
        labels.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"
# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{service="a b",path="/{id}",quote="say \"x\"\\\n"} 3
calls_total{service="c"} 4 1700000000000
calls_totally 9
up 1
bucket{le="+Inf"} +Inf
"#;

    #[test]
    fn samples_are_found_by_name_and_label() {
        let page = Page::parse(PAGE).unwrap();
        assert_eq!(page.sum("calls_total"), 7);
        assert_eq!(page.sum("calls"), 7, "a counter's suffix may be left out");
        assert_eq!(page.sum_where("calls", |sample| sample.label("service") == "c"), 4);
        assert_eq!(page.sum("up"), 1);
        assert_eq!(page.sum("absent"), 0);
    }

    #[test]
    fn label_values_may_hold_anything() {
        let page = Page::parse(PAGE).unwrap();
        let sample = page.series("calls").next().unwrap();
        assert_eq!(sample.label("path"), "/{id}");
        assert_eq!(sample.label("quote"), "say \"x\"\\\n");
    }

    #[test]
    fn a_line_that_is_no_sample_is_named() {
        for line in ["novalue", "name{label=\"open", "name{} x"] {
            assert_eq!(Page::parse(line), Err(line.to_owned()));
        }
    }
}
