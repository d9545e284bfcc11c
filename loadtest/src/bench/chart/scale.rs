//! From figures to places on an axis, and the round figures that are written beside it.

/// How an axis grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// Equal steps, from zero.
    Linear,
    /// Equal factors.
    Logarithmic,
}

/// The stretch of figures that an axis shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    growth: Growth,
    low: f64,
    high: f64,
}

impl Scale {
    /// A scale with room for all of `values`, between round figures. What cannot be shown is left
    /// out: nothing on a logarithmic scale is zero or less.
    pub(super) fn around(growth: Growth, values: impl Iterator<Item = f64>) -> Self {
        let is_shown = |value: &f64| match growth {
            Growth::Linear => value.is_finite() && *value >= 0.0,
            Growth::Logarithmic => value.is_finite() && *value > 0.0,
        };
        let extremes = values.filter(is_shown).fold(None, |extremes, value| match extremes {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        });
        let (low, high) = extremes.unwrap_or((1.0, 1.0));
        match growth {
            Growth::Linear => {
                let high = if high > 0.0 { high } else { 1.0 };
                let step = step(high);
                Self { growth, low: 0.0, high: (high / step).ceil() * step }
            }
            Growth::Logarithmic => {
                let (low, high) = (round_down(low), round_up(high));
                let high = if high > low { high } else { low * 10.0 };
                Self { growth, low, high }
            }
        }
    }

    /// Where a figure is, from 0 at the low end to 1 at the high end; none for what is beyond.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let place = match self.growth {
            Growth::Linear => (value - self.low) / (self.high - self.low),
            Growth::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        (-1e-9..=1.0 + 1e-9).contains(&place).then(|| place.clamp(0.0, 1.0))
    }

    /// Round figures along the scale, at most about ten.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.growth {
            Growth::Linear => {
                let step = step(self.high);
                let count = (self.high / step).round();
                let mut ticks = Vec::new();
                let mut number = 0.0;
                while number <= count {
                    ticks.push(number * step);
                    number += 1.0;
                }
                ticks
            }
            Growth::Logarithmic => {
                let decades = (self.high / self.low).log10();
                let digits: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let mut ticks = Vec::new();
                let mut decade = decade_of(self.low);
                while decade <= self.high * 1.000_001 {
                    ticks.extend(digits.iter().map(|digit| digit * decade));
                    decade *= 10.0;
                }
                ticks.retain(|tick| self.place(*tick).is_some());
                ticks
            }
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides `high` into four to ten.
fn step(high: f64) -> f64 {
    let decade = decade_of(high / 4.0);
    let digits = [5.0, 2.0, 1.0].into_iter();
    digits.map(|digit| digit * decade).find(|step| *step <= high / 4.0).unwrap_or(decade)
}

fn decade_of(value: f64) -> f64 {
    // The logarithm of a power of ten may come out a hair below.
    10_f64.powf((value.log10() + 1e-9).floor())
}

fn round_down(value: f64) -> f64 {
    let decade = decade_of(value);
    let digits = [5.0, 2.0, 1.0].into_iter();
    digits.map(|digit| digit * decade).find(|round| *round <= value * 1.000_001).unwrap_or(decade)
}

fn round_up(value: f64) -> f64 {
    let decade = decade_of(value);
    let digits = [1.0, 2.0, 5.0, 10.0].into_iter();
    let round = digits.map(|digit| digit * decade).find(|round| *round >= value * 0.999_999);
    round.unwrap_or(decade * 10.0)
}

/// A figure in as few characters as it needs: `0.45`, `12`, `300 k`, `1.5 M`.
pub(super) fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(values: &[f64]) -> Scale {
        Scale::around(Growth::Linear, values.iter().copied())
    }

    fn logarithmic(values: &[f64]) -> Scale {
        Scale::around(Growth::Logarithmic, values.iter().copied())
    }

    fn ticks(scale: &Scale) -> Vec<String> {
        scale.ticks().into_iter().map(short).collect()
    }

    #[test]
    fn a_linear_scale_begins_at_zero_and_ends_at_a_round_figure() {
        let scale = linear(&[0.31, 0.46]);
        assert_eq!(ticks(&scale), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!((scale.place(0.0), scale.place(0.25), scale.place(0.5)), place(0.0, 0.5, 1.0));
        assert_eq!((scale.place(0.6), scale.place(-0.1)), (None, None));
        assert_eq!(ticks(&linear(&[1000.0])), ["0", "200", "400", "600", "800", "1000"]);
    }

    #[test]
    fn a_logarithmic_scale_has_equal_factors() {
        let scale = logarithmic(&[1.0, 300.0]);
        assert_eq!(ticks(&scale), ["1", "2", "5", "10", "20", "50", "100", "200", "500"]);
        let scale = logarithmic(&[1_000.0, 1_000_000.0, 10_000_000.0]);
        assert_eq!(ticks(&scale), ["1000", "10 k", "100 k", "1 M", "10 M"]);
        let middle = scale.place(100_000.0).unwrap();
        assert!((middle - 0.5).abs() < 1e-9, "{middle}");
    }

    #[test]
    fn odd_figures_make_a_scale_all_the_same() {
        for scale in [linear(&[]), linear(&[0.0]), linear(&[f64::NAN, -1.0])] {
            assert_eq!(scale.place(0.0), Some(0.0));
            assert!(scale.ticks().len() >= 2);
        }
        for scale in [logarithmic(&[]), logarithmic(&[0.0, 7.0]), logarithmic(&[f64::INFINITY])] {
            assert_eq!(scale.place(0.0), None);
            assert!(scale.ticks().len() >= 2);
        }
    }

    #[test]
    fn figures_are_short() {
        let figures = [0.0, 0.4567, 1.0, 12.34, 123.4, 9999.0, 1.5e6, 300e3, 2e9];
        let texts = ["0", "0.457", "1", "12.3", "123", "9999", "1.5 M", "300 k", "2 G"];
        assert_eq!(figures.map(short), texts);
    }

    fn place(a: f64, b: f64, c: f64) -> (Option<f64>, Option<f64>, Option<f64>) {
        (Some(a), Some(b), Some(c))
    }
}
