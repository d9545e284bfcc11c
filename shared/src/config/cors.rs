//! `cors` of an HTTP server. Source: collector config/confighttp.

use super::problems::{Path, Problems};
use crate::config_struct;

config_struct! {
    /// Which pages of other origins a browser lets send here; off without an origin.
    pub struct CorsConfig {
        /// Origins; `*` stands for any characters, once in each, and alone for every origin.
        pub allowed_origins: Vec<String> = Vec::new(),
        /// Headers that pages may send; `*` is any. Accept, Accept-Language, Content-Type and
        /// Content-Language always are, X-Requested-With while none is listed.
        pub allowed_headers: Vec<String> = Vec::new(),
        /// Headers of answers that pages may read.
        pub exposed_headers: Vec<String> = Vec::new(),
        /// Seconds for which browsers may remember what is allowed; 0 leaves it to them, a
        /// negative number is not at all.
        pub max_age: i64 = 0,
    }
}

impl CorsConfig {
    /// Reports what is wrong.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let origins = at.key("allowed_origins");
        for (index, origin) in self.allowed_origins.iter().enumerate() {
            if origin.matches('*').count() > 1 {
                let message = format!("{origin:?} has more than one \"*\"");
                problems.report(&origins.index(index), message);
            }
        }
        for (key, names) in
            [("allowed_headers", &self.allowed_headers), ("exposed_headers", &self.exposed_headers)]
        {
            let at = at.key(key);
            for (index, name) in names.iter().enumerate() {
                if name != "*" && name.parse::<http::HeaderName>().is_err() {
                    problems.report(&at.index(index), format!("{name:?} is no header's name"));
                }
            }
        }
        if self.allowed_origins.is_empty()
            && !(self.allowed_headers.is_empty() && self.exposed_headers.is_empty())
        {
            problems.warn(at, "without allowed_origins nothing is allowed, so this has no effect");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::testing::section;

    fn problems(json: &Value) -> (Vec<String>, Vec<String>) {
        let (_, problems, warnings) = section(json, CorsConfig::validate);
        (problems, warnings)
    }

    #[test]
    fn origins_have_one_star_and_headers_have_names() {
        let (problems, warnings) = problems(&json!({
            "allowed_origins": ["https://*.a.org", "*://*.a.org"],
            "allowed_headers": ["*", "x tenant"],
            "exposed_headers": [""],
        }));
        let expected = [
            r#"a::allowed_origins::1: "*://*.a.org" has more than one "*""#,
            r#"a::allowed_headers::1: "x tenant" is no header's name"#,
            r#"a::exposed_headers::0: "" is no header's name"#,
        ];
        assert_eq!(problems, expected);
        assert!(warnings.is_empty());
    }

    #[test]
    fn headers_without_origins_have_no_effect() {
        let (problems, warnings) = problems(&json!({ "allowed_headers": ["x"] }));
        assert!(problems.is_empty());
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
}
