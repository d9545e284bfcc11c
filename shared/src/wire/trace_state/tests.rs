use super::*;

#[track_caller]
fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut members = Members::new(text.as_bytes());
    let utf8 = |bytes| std::str::from_utf8(bytes).unwrap();
    let read = members.by_ref().map(|member| (utf8(member.key), utf8(member.value))).collect();
    (!members.is_malformed()).then_some(read)
}

#[test]
fn members_are_read_in_order_without_the_blanks_around_them() {
    assert_eq!(members(""), Some(vec![]));
    assert_eq!(members("a=1,b=x y"), Some(vec![("a", "1"), ("b", "x y")]));
    assert_eq!(members(" a=1\t, ,,\tb= 2 "), Some(vec![("a", "1"), ("b", " 2")]));
    assert_eq!(members("0t@sys=1,a_-*/9=~"), Some(vec![("0t@sys", "1"), ("a_-*/9", "~")]));
}

#[test]
fn broken_grammar_is_told() {
    let long = |length: usize| "a".repeat(length);
    for text in ["a", "=1", "a=", "A=1", "9=1", "a b=1", "a=1=2", "@a=1", "a@=1", "a@9=1", "é=1"] {
        assert_eq!(members(text), None, "{text}");
        assert_eq!(members(&format!("b=1,{text}")), None, "{text} behind another");
    }
    for (key, value, ok) in [
        (long(256), long(256), true),
        (long(257), long(1), false),
        (long(1), long(257), false),
        (format!("{}@{}", long(241), long(14)), long(1), true),
        (format!("{}@{}", long(242), long(1)), long(1), false),
        (format!("{}@{}", long(1), long(15)), long(1), false),
    ] {
        assert_eq!(members(&format!("{key}={value}")).is_some(), ok, "{key}={value}");
    }
}

#[test]
fn a_value_is_found_in_valid_trace_states_only() {
    #[track_caller]
    fn check(text: &str, found: Result<Option<&str>, Invalid>) {
        let found = found.map(|found| found.map(str::as_bytes));
        assert_eq!(get(text.as_bytes(), b"tier"), found, "{text}");
    }
    check("a=1,tier=gold", Ok(Some("gold")));
    check("a=1", Ok(None));
    check("", Ok(None));
    check(",,", Ok(None));
    check("tier=gold,B=1", Err(Invalid));
    check("tier=gold,a=1,a=2", Err(Invalid));
    check("tier=gold,,a=1", Ok(Some("gold")));
    check("tier=gold, ,a=1", Err(Invalid));
    check("ot=th:8, tier=x y \t,", Ok(Some("x y")));
    for broken in ["x", "x=", "x=a=b", "x=ä", "t@s@u=1", "x =1"] {
        check(&format!("tier=gold,{broken}"), Err(Invalid));
    }
    let with_others = |count| {
        let others: Vec<String> = (0..count).map(|number| format!("k{number}=v")).collect();
        format!("{},tier=gold", others.join(","))
    };
    check(&with_others(31), Ok(Some("gold")));
    check(&with_others(32), Err(Invalid));
}

#[test]
fn what_is_said_of_sampling_is_read() {
    #[track_caller]
    fn check(text: &str, expected: Option<(Option<u64>, Option<u64>)>) {
        let read = Otel::read(text.as_bytes()).map(|otel| (otel.randomness, otel.threshold));
        assert_eq!(read, expected, "{text}");
    }
    check("", Some((None, None)));
    check("vendor=x", Some((None, None)));
    check("ot=th:8", Some((None, Some(1 << 55))));
    check("ot=th:0", Some((None, Some(0))));
    check(
        "a=1,ot=p:8;rv:0123456789abCD;th:Fd7",
        Some((Some(0x01_2345_6789_abcd), Some(0xfd7 << 44))),
    );
    check("ot=rv:abcdef01234567,ot=th:8", Some((None, Some(1 << 55))));
    for broken in
        ["th:", "th", "th:g", "th:123456789abcdef", "rv:1", "x", "X:1", "th:8;", "a:é", "a:b:c"]
    {
        check(&format!("ot={broken}"), None);
    }
    check(&format!("ot=a:{}", "b".repeat(254)), Some((None, None)));
    check(&format!("ot=th:8{}", ",".repeat(31)), None);
    check(&format!("{}ot=th:8", " ".repeat(MAX_LENGTH)), None);
}

#[test]
fn a_threshold_is_raised_and_the_rest_stays() {
    #[track_caller]
    fn check(before: &str, threshold: u64, expected: Result<&str, Raised>) {
        let mut text = b"of the last one".to_vec();
        let raised = raise_threshold(before.as_bytes(), threshold, &mut text);
        let after = std::str::from_utf8(&text).unwrap();
        match raised {
            Raised::Yes => assert_eq!(Ok(after), expected, "{before}"),
            raised => assert_eq!(Err(raised), expected, "{before}"),
        }
    }
    check("", 1 << 55, Ok("ot=th:8"));
    check("", 0, Ok("ot=th:0"));
    check("", 0x00_0000_0000_0001, Ok("ot=th:00000000000001"));
    check("", 0xff_ffff_ffff_ffff, Ok("ot=th:ffffffffffffff"));
    check("a=1, b=2", 3 << 54, Ok("ot=th:c,a=1,b=2"));
    check(
        "a=1,ot=p:9;rv:abcdef01234567;th:8,b=2",
        3 << 54,
        Ok("ot=rv:abcdef01234567;th:c;p:9,a=1,b=2"),
    );
    check("ot=th:c", 3 << 54, Err(Raised::Already));
    check("ot=th:c", 1 << 55, Err(Raised::Already));
    check("ot=th:0", 0, Err(Raised::Already));
    check("ot=th:zz", 1 << 55, Err(Raised::Unreadable));
    check("no trace state", 1 << 55, Err(Raised::Unreadable));
}

#[test]
fn randomness_is_the_end_of_the_trace_id() {
    let id = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    assert_eq!(randomness_of(&id), 0x09_0a0b_0c0d_0e0f);
}
