//! Spans that carry less or more than those of real services.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::draft::{Attributes, Origin, Span};
use crate::plan::{Look, Plan};

/// Attributes of a fat span, and the bytes of each.
const FAT_KEYS: [&str; 20] = [
    "fat.a", "fat.b", "fat.c", "fat.d", "fat.e", "fat.f", "fat.g", "fat.h", "fat.i", "fat.j",
    "fat.k", "fat.l", "fat.m", "fat.n", "fat.o", "fat.p", "fat.q", "fat.r", "fat.s", "fat.t",
];
const FAT_BYTES: usize = 5_000;
/// Fat values are pieces of a text of this length.
const TEXT_BYTES: usize = 1 << 16;
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Makes grown spans look as a plan says.
pub(super) struct Dresser {
    look: Look,
    one_service: bool,
    /// Draws for fat spans only, so that the bytes of other plans stay what they are.
    rng: StdRng,
    text: String,
}

impl Dresser {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut rng = StdRng::seed_from_u64(plan.seed);
        let length = if plan.look == Look::Fat { TEXT_BYTES } else { 0 };
        let letter = |_| char::from(LETTERS[rng.random_range(0..LETTERS.len())]);
        let text = (0..length).map(letter).collect();
        Self { look: plan.look, one_service: plan.services == 1, rng, text }
    }

    pub(super) fn dress(&mut self, spans: &mut [Span]) {
        for span in spans {
            if self.one_service {
                span.origin = Origin { service: 0, instance: 0 };
            }
            match self.look {
                Look::Plain => continue,
                Look::Tiny => span.attributes = Vec::new(),
                Look::Fat => span.attributes = self.fat_attributes(),
            }
            (span.trace_state, span.events, span.links) = ("", Vec::new(), Vec::new());
        }
    }

    fn fat_attributes(&mut self) -> Attributes {
        let mut attributes = Attributes::with_capacity(FAT_KEYS.len());
        for key in FAT_KEYS {
            let start = self.rng.random_range(0..=TEXT_BYTES - FAT_BYTES);
            let value = self.text.get(start..start + FAT_BYTES).expect("the text is ASCII");
            attributes.push((key, value.to_owned().into()));
        }
        attributes
    }
}
