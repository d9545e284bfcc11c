//! Patterns in which `*` stands for any characters and `?` for one.

/// A pattern that the whole of a text has to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wildcard(Vec<char>);

impl Wildcard {
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.chars().collect())
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut in_text) = (0, 0);
        // Where the last `*` stands, and up to where the text is its own.
        let mut star: Option<(usize, usize)> = None;
        while in_text < text.len() {
            match self.0.get(at) {
                Some('*') => {
                    star = Some((at, in_text));
                    at += 1;
                }
                Some(c) if *c == '?' || *c == text[in_text] => {
                    at += 1;
                    in_text += 1;
                }
                _ => {
                    let Some((place, taken)) = star else { return false };
                    star = Some((place, taken + 1));
                    (at, in_text) = (place + 1, taken + 1);
                }
            }
        }
        self.0[at..].iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_and_question_marks_for_one_character() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("*", "k8s.pod.name", true),
            ("service*", "service.name", true),
            ("service*", "a.service", false),
            ("*.name", "k8s.pod.name", true),
            ("k8s.*.name", "k8s.pod.name", true),
            ("k8s.*.name", "k8s.pod.name.x", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("k8s.p?d.uid", "k8s.pöd.uid", true),
            ("?", "", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Wildcard::new(pattern).matches(text), matches, "{pattern} {text}");
        }
    }
}
