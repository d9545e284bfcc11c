//! Why data points do not arrive.

/// Why a data point was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Not cumulative, and a receiver knows nothing else.
    Temporality,
    /// An exponential histogram that is coarser than native ones can be.
    Scale,
    /// A metric without a name, bounds that do not ascend, no time, no value.
    Invalid,
    /// A second sample of one series and one time in one request.
    Duplicate,
    /// The receiver will not take it.
    Rejected,
    /// The receiver took the request, and said that it did not write all of it.
    NotWritten,
    /// The receiver could not take it for too long.
    RetriesExhausted,
    /// It was still waiting when the process had to stop.
    Shutdown,
}

impl Reason {
    pub(super) const ALL: [Reason; 8] = [
        Reason::Temporality,
        Reason::Scale,
        Reason::Invalid,
        Reason::Duplicate,
        Reason::Rejected,
        Reason::NotWritten,
        Reason::RetriesExhausted,
        Reason::Shutdown,
    ];

    /// The value of the label `reason`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Reason::Temporality => "unsupported_temporality",
            Reason::Scale => "unsupported_scale",
            Reason::Invalid => "invalid",
            Reason::Duplicate => "duplicate_sample",
            Reason::Rejected => "rejected",
            Reason::NotWritten => "not_written",
            Reason::RetriesExhausted => "retries_exhausted",
            Reason::Shutdown => "shutdown",
        }
    }
}
