//! Sections: defaults, optional ones, and every problem at once.

use std::time::Duration;

use super::*;
use crate::config::Entry;

config_struct! {
    struct Inner {
        pub size: u32 = 7,
    }
}

config_struct! {
    struct Outer {
        pub wait: Duration = Duration::from_secs(1),
        pub r#type: String = String::new(),
        pub none: Section<Inner> = Section::none(),
        pub off: Section<Inner> = Section::off(),
        pub on: Section<Inner> = Section::on(Inner::default()),
    }
    flatten {
        pub inner: Inner = Inner::default(),
    }
}

config_struct! {
    struct Narrow {
        pub tls: NotSupported = NotSupported,
    }
}

#[test]
fn a_key_that_is_not_supported_is_an_error_unless_it_is_empty() {
    let errors = |data| {
        let mut problems = Problems::default();
        Narrow::decode(&Node::new(map(vec![("tls", data)])), &Path::ROOT, &mut problems);
        problems.errors().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(errors(map(vec![])), ["tls: not supported yet"]);
    assert!(errors(Data::Null).is_empty());
}

fn map(entries: Vec<(&str, Data)>) -> Data {
    let entry = |(key, data): (&str, Data)| Entry {
        key: key.to_owned(),
        place: crate::config::Place::default(),
        value: Node::new(data),
    };
    Data::Map(entries.into_iter().map(entry).collect())
}

fn decode(data: Data) -> Result<Outer, Vec<String>> {
    let mut problems = Problems::default();
    let outer = Outer::decode(&Node::new(data), &Path::ROOT.key("outer"), &mut problems);
    outer.ok_or_else(|| problems.errors().iter().map(ToString::to_string).collect())
}

#[test]
fn keys_are_set_and_the_rest_keeps_its_default() {
    let data = map(vec![
        ("wait", Data::String("2m".into())),
        ("type", Data::String("x".into())),
        ("size", Data::Int(9)),
    ]);
    let outer = decode(data).unwrap();
    assert_eq!(outer.wait, Duration::from_secs(120));
    assert_eq!((outer.r#type.as_str(), outer.inner.size), ("x", 9));
}

#[test]
fn optional_sections_have_three_states() {
    let state = |data: Option<fn() -> Data>| {
        let keys = ["none", "off", "on"];
        let entries = data.into_iter().flat_map(|data| keys.map(|key| (key, data())));
        let outer = decode(map(entries.collect())).unwrap();
        [outer.none.is_on(), outer.off.is_on(), outer.on.is_on()]
    };
    assert_eq!(state(None), [false, false, true]);
    assert_eq!(state(Some(|| Data::Null)), [false, true, true]);
    assert_eq!(state(Some(|| map(vec![]))), [true, true, true]);
    assert_eq!(state(Some(|| map(vec![("enabled", Data::Bool(false))]))), [false; 3]);
    assert_eq!(state(Some(|| map(vec![("enabled", Data::Bool(true))]))), [true; 3]);
}

#[test]
fn every_problem_is_reported_at_once() {
    let data = map(vec![
        ("wiat", Data::Int(1)),
        ("wait", Data::String("5 parsecs".into())),
        ("size", Data::Int(-1)),
        ("on", map(vec![("siez", Data::Int(1))])),
    ]);
    let problems = decode(data).unwrap_err();
    let starts = [
        "outer::wiat: unknown key, did you mean \"wait\"?",
        "outer::wait: \"5 parsecs\" is not a duration",
        "outer::size: -1 is out of range",
        "outer::on::siez: unknown key, did you mean \"size\"?",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
}
