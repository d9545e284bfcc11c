//! How the tiers are configured at each step.

use std::fmt::Write as _;

/// Policies that no generated span meets, of the types that look at spans' contents; each looks
/// for something of its own.
pub(super) fn policies(count: u64) -> String {
    let mut list = String::from("[");
    for number in 0..count {
        let separator = if number > 0 { ", " } else { "" };
        write!(list, "{separator}{{name: policy-{number}, {}}}", policy(number))
            .expect("a string takes any text");
    }
    list.push(']');
    list
}

fn policy(number: u64) -> String {
    match number % 5 {
        0 => format!(
            "type: string_attribute, string_attribute: {{key: http.route, values: [/none/{number}]}}"
        ),
        1 => format!(
            "type: numeric_attribute, numeric_attribute: \
             {{key: http.response.status_code, min_value: {0}, max_value: {0}}}",
            10_000 + number
        ),
        2 => format!("type: latency, latency: {{threshold_ms: {}}}", 100_000_000 + number),
        3 => format!(
            "type: string_attribute, string_attribute: \
             {{key: service.name, values: ['^none-{number}-'], enabled_regex_matching: true}}"
        ),
        _ => format!(
            "type: boolean_attribute, boolean_attribute: {{key: app.none.{number}, value: true}}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_a_name_and_a_condition_of_its_own() {
        let list = policies(50);
        for number in 0..50 {
            assert_eq!(list.matches(&format!("{{name: policy-{number}, ")).count(), 1, "{list}");
        }
        let conditions: std::collections::HashSet<String> = (0..50).map(policy).collect();
        assert_eq!(conditions.len(), 50);
    }
}
