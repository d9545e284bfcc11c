//! Which format a scraper gets, by what it says it takes.
//!
//! Source: prometheus/common `expfmt/encode.go`.

use super::names::Charset;

/// A format of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) exposition: Exposition,
    pub(crate) charset: Charset,
}

/// How series are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// The text format, version 0.0.4.
    Text,
    /// OpenMetrics, in its current version.
    OpenMetrics,
    /// OpenMetrics, in the version before it, which reads the same.
    OpenMetricsDraft,
    /// `io.prometheus.client.MetricFamily`, each behind its length.
    Protobuf,
}

/// Whether scrapers that ask for it get OpenMetrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenMetrics {
    On,
    Off,
}

impl Format {
    /// The best that a scraper takes by its header `Accept`; text if there is nothing.
    pub(crate) fn negotiate(accept: &str, open_metrics: OpenMetrics) -> Self {
        let mut entries: Vec<Entry<'_>> = accept.split(',').filter_map(Entry::parse).collect();
        entries.sort_by(|one, other| other.quality.total_cmp(&one.quality));
        let mut charset = Charset::Legacy;
        for entry in &entries {
            match entry.get("escaping") {
                Some("allow-utf-8") => charset = Charset::Utf8,
                // Of these we write only the first, which takes nothing away from the others.
                Some("underscores" | "dots" | "values") => charset = Charset::Legacy,
                _ => {}
            }
            if let Some(exposition) = entry.exposition(open_metrics) {
                return Self { exposition, charset };
            }
        }
        Self { exposition: Exposition::Text, charset }
    }

    /// What the answer says of itself.
    pub(crate) fn content_type(self) -> String {
        let format = match self.exposition {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Exposition::OpenMetricsDraft => {
                "application/openmetrics-text; version=0.0.1; charset=utf-8"
            }
            Exposition::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        };
        let escaping = match self.charset {
            Charset::Legacy => "underscores",
            Charset::Utf8 => "allow-utf-8",
        };
        format!("{format}; escaping={escaping}")
    }
}

/// One of the formats that a scraper takes.
struct Entry<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f64,
}

impl<'a> Entry<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().filter(|media_type| !media_type.is_empty())?;
        let parameters: Vec<_> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
            .collect();
        let quality = parameters.iter().find(|(name, _)| *name == "q");
        let quality = quality.and_then(|(_, value)| value.parse().ok()).unwrap_or(1.0);
        (quality > 0.0).then_some(Self { media_type, parameters, quality })
    }

    fn get(&self, parameter: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(name, _)| *name == parameter).map(|(_, value)| *value)
    }

    fn exposition(&self, open_metrics: OpenMetrics) -> Option<Exposition> {
        match (self.media_type, self.get("version"), open_metrics) {
            ("application/vnd.google.protobuf", _, _) => {
                let asks = self.get("proto") == Some("io.prometheus.client.MetricFamily")
                    && self.get("encoding") == Some("delimited");
                asks.then_some(Exposition::Protobuf)
            }
            ("application/openmetrics-text", Some("1.0.0"), OpenMetrics::On) => {
                Some(Exposition::OpenMetrics)
            }
            ("application/openmetrics-text", None | Some("0.0.1"), OpenMetrics::On) => {
                Some(Exposition::OpenMetricsDraft)
            }
            ("text/plain", None | Some("0.0.4"), _) => Some(Exposition::Text),
            _ => None,
        }
    }
}

/// Whether a scraper takes gzip, by its header `Accept-Encoding`.
pub(crate) fn takes_gzip(accept_encoding: &str) -> bool {
    accept_encoding
        .split(',')
        .filter_map(Entry::parse)
        .any(|entry| entry.media_type.eq_ignore_ascii_case("gzip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus 3 sends.
    const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.6";

    #[test]
    fn a_scraper_gets_the_best_that_it_takes() {
        use Charset::{Legacy, Utf8};
        use Exposition::{OpenMetrics as Open, OpenMetricsDraft, Protobuf, Text};
        use OpenMetrics::{Off, On};
        let both = format!("{PROMETHEUS},{PROTOBUF}");
        for (accept, open_metrics, exposition, charset) in [
            ("", On, Text, Legacy),
            ("*/*", On, Text, Legacy),
            (PROMETHEUS, On, Open, Utf8),
            (PROMETHEUS, Off, Text, Utf8),
            (&both, On, Protobuf, Utf8),
            (&both, Off, Protobuf, Utf8),
            ("application/openmetrics-text", On, OpenMetricsDraft, Legacy),
            ("application/openmetrics-text; version=2.0.0, text/plain", On, Text, Legacy),
            ("text/plain;version=1.0.0;escaping=allow-utf-8", On, Text, Utf8),
            ("text/plain;version=0.0.4;q=0.5;escaping=dots", On, Text, Legacy),
            ("application/openmetrics-text;version=1.0.0;q=0,text/plain", On, Text, Legacy),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                On,
                Text,
                Legacy,
            ),
        ] {
            let found = Format::negotiate(accept, open_metrics);
            assert_eq!(found, Format { exposition, charset }, "{accept}");
        }
    }

    #[test]
    fn the_answer_says_what_it_is() {
        let of = |accept: &str| Format::negotiate(accept, OpenMetrics::On).content_type();
        assert_eq!(of(""), "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
        assert_eq!(
            of(PROMETHEUS),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
        );
        assert_eq!(
            of(PROTOBUF),
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
             encoding=delimited; escaping=allow-utf-8"
        );
    }

    #[test]
    fn gzip_is_for_those_who_ask() {
        for (header, takes) in
            [("gzip", true), ("deflate, gzip;q=0.5", true), ("gzip;q=0", false), ("", false)]
        {
            assert_eq!(takes_gzip(header), takes, "{header}");
        }
    }
}
