//! The straight line through a row of figures.

/// Figures by the time of each.
#[derive(Debug, Default)]
pub(super) struct Trend(Vec<(f64, f64)>);

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes of memory are positive and far below 2^53"
)]
impl Trend {
    /// Adds what there was at a time, in seconds.
    pub(super) fn add(&mut self, at: f64, bytes: u64) {
        self.0.push((at, bytes as f64));
    }

    /// The mean, in bytes.
    pub(super) fn mean(&self) -> u64 {
        self.means().1 as u64
    }

    /// Growth a second, in bytes, by least squares.
    pub(super) fn slope(&self) -> f64 {
        let (time, bytes) = self.means();
        let (mut both, mut square) = (0.0, 0.0);
        for (at, figure) in &self.0 {
            both += (at - time) * (figure - bytes);
            square += (at - time) * (at - time);
        }
        if square > 0.0 { both / square } else { 0.0 }
    }

    fn means(&self) -> (f64, f64) {
        let count = self.0.len().max(1) as f64;
        let (mut time, mut bytes) = (0.0, 0.0);
        for (at, figure) in &self.0 {
            time += at / count;
            bytes += figure / count;
        }
        (time, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found_through_the_noise() {
        let mut trend = Trend::default();
        assert_eq!((trend.mean(), trend.slope()), (0, 0.0));
        for second in 0_u32..100 {
            let noise = if second % 2 == 0 { 50 } else { 0 };
            trend.add(f64::from(second), u64::from(1000 + 3 * second + noise));
        }
        assert!((trend.slope() - 3.0).abs() < 0.05, "{}", trend.slope());
        assert_eq!(trend.mean(), 1173);
    }
}
