use super::*;
use proptest::prelude::*;

use super::super::ast::{Argument, Call, Lambda, Path, Segment};

#[track_caller]
fn check(text: &str, printed: &str) {
    let tree = condition(text).unwrap_or_else(|error| panic!("{error}\n{}", error.caret(text)));
    assert_eq!(tree.to_string(), printed);
    assert_eq!(condition(printed).unwrap(), tree);
}

#[track_caller]
fn check_error(text: &str, offset: usize, message: &str) {
    let error = condition(text).unwrap_err();
    assert_eq!((error.offset, error.message.as_str()), (offset, message));
}

#[test]
fn not_binds_tighter_than_and_and_and_than_or() {
    check("true or false and not true", "true or false and not true");
    check("(true or false) and true", "(true or false) and true");
    check("(true and false) or true", "true and false or true");
    check("not (true and false)", "not (true and false)");
    check("not a == 1 and b == 2", "not a == 1 and b == 2");
    check("true or (false or true)", "true or (false or true)");
}

#[test]
fn products_bind_tighter_than_sums() {
    check("a + b * c == 1", "a + b * c == 1");
    check("(a + b) * c == 1", "(a + b) * c == 1");
    check("(a * b) * c == 1", "(a * b) * c == 1");
    check("a - (b - c) == 1", "a - (b - c) == 1");
    check("(((a))) == ((1))", "a == 1");
    check("-a == - 1 - -1.5", "-a == -1 - -1.5");
    check("-(a + 1) < +5 * -(5)", "-(a + 1) < 5 * -(5)");
}

#[test]
fn values_have_many_forms() {
    check("a.b_2[\"k\"][0] == nil", "a.b_2[\"k\"][0] == nil");
    check("F(a, [1, \"x\"], n=true)[0][a] != 0x00ff", "F(a, [1, \"x\"], n=true)[0][a] != 0x00ff");
    check("{\"a\": {} \"b\": []} == X_1", "{\"a\": {}, \"b\": []} == X_1");
    check("Any(a, (k, _) => k == 1)", "Any(a, (k, _) => k == 1)");
    check("Find(a, () => F() + 1) == URL(x)[\"k\"]", "Find(a, () => F() + 1) == URL(x)[\"k\"]");
    check("a[b - 1] == 1.0e300", "a[b - 1] == 1.0e300");
}

#[test]
fn errors_say_where_and_what() {
    check_error("", 0, "empty");
    check_error("  ", 0, "empty");
    check_error("a", 0, "a path is no condition: compare it, as in a == true");
    check_error(
        "true and b[\"x\"]",
        9,
        "a path is no condition: compare it, as in b[\"x\"] == true",
    );
    check_error("1", 0, "expected a condition, found a number");
    check_error("a ==", 4, "expected a value or a condition, found the end");
    check_error("a = 1", 2, "unexpected \"=\", did you mean \"==\"?");
    check_error("a == 1 b == 2", 7, "unexpected \"b\" behind the condition");
    check_error("1 < a < 3", 6, "comparisons do not chain, join them with \"and\"");
    check_error("(a == 1) == true", 0, "expected a value, found a condition");
    check_error(
        "\"a\" + \"b\" == c",
        0,
        "arithmetic takes numbers, paths and functions, not a string",
    );
    check_error("(\"a\") == c", 1, "parentheses hold conditions and arithmetic, not a string");
    check_error("not not true", 4, "\"not\" twice needs parentheses: not (not …)");
    check_error("(a == 1", 7, "expected \")\", found the end");
    check_error("F(a b) == 1", 4, "expected \",\" or \")\", found \"b\"");
    check_error("F(a, ) == 1", 5, "expected a value or a condition, found \")\"");
    check_error("F(true and false)", 2, "expected a value, found a condition");
    check_error("a[1.5] == 1", 2, "a key is a string or an integer, not a number");
    check_error(
        "isMatch(a)",
        0,
        "functions that give a value start with a capital letter, \"isMatch\" does not",
    );
    check_error(
        "IsMatch == 1",
        0,
        "unexpected \"IsMatch\": a function needs parentheses, an enum is in capitals and a path in lower case",
    );
    check_error("a.B == 1", 2, "expected a path in lower case, found \"B\"");
    check_error("F((a, a) => a) == 1", 6, "two parameters are named \"a\"");
    check_error("F((a) => (b) => a) == 1", 9, "a lambda cannot give another lambda");
}

#[test]
fn nesting_and_length_are_limited() {
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    let deepest = usize::try_from(MAX_DEPTH).unwrap();
    check(&nested(deepest), "true");
    check_error(&nested(deepest + 1), deepest, "nested deeper than 64 levels");
    check_error(&nested(20_000), deepest, "nested deeper than 64 levels");
    check_error(&"not (".repeat(1000), 5 * deepest + 4, "nested deeper than 64 levels");
    check_error(&format!("a == {}", "[".repeat(1000)), 5 + deepest, "nested deeper than 64 levels");
    check_error(&"x".repeat(MAX_TEXT_BYTES + 1), MAX_TEXT_BYTES, "longer than 65536 bytes");
    // A long chain is no deep one.
    let chain = vec!["a + 1 == 2"; 4000].join(" or ");
    check(&chain, &chain);
}

fn value(kind: ValueKind) -> Value {
    Value { place: Place::default(), kind }
}

fn path() -> impl Strategy<Value = Path> {
    let key = prop_oneof![
        any::<String>().prop_map(|text| value(ValueKind::Text(text.into()))),
        (0..i64::MAX).prop_map(|index| value(ValueKind::Int(index))),
    ];
    let segment = ("[a-m][a-z0-9_]{0,8}", prop::collection::vec(key, 0..3))
        .prop_map(|(name, keys)| Segment { name: name.into(), keys });
    prop::collection::vec(segment, 1..4)
        .prop_filter("keywords", |segments| {
            !segments.iter().any(|segment| matches!(&*segment.name, "and" | "false"))
        })
        .prop_map(|segments| Path { place: Place::default(), segments })
}

fn literal() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(ValueKind::Nil),
        any::<bool>().prop_map(ValueKind::Bool),
        (i64::MIN + 1..=i64::MAX).prop_map(ValueKind::Int),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(ValueKind::Double),
        any::<String>().prop_map(|text| ValueKind::Text(text.into())),
        prop::collection::vec(any::<u8>(), 1..6).prop_map(|bytes| ValueKind::Bytes(bytes.into())),
        "[A-Z][A-Z0-9_]{0,8}".prop_map(|symbol| ValueKind::Enum(symbol.into())),
        path().prop_map(ValueKind::Path),
    ]
    .prop_map(value)
}

fn values() -> BoxedStrategy<Value> {
    literal()
        .prop_recursive(4, 24, 4, |inner| {
            let operand = inner.clone().prop_filter("an operand", |value| is_operand(&value.kind));
            let rest = prop::collection::vec((any::<bool>(), operand.clone()), 1..3);
            prop_oneof![
                (any::<bool>(), operand.clone(), rest).prop_map(|(sum, first, rest)| {
                    let operator = |plain| match (sum, plain) {
                        (true, true) => MathOp::Add,
                        (true, false) => MathOp::Subtract,
                        (false, true) => MathOp::Multiply,
                        (false, false) => MathOp::Divide,
                    };
                    let rest = rest.into_iter().map(|(plain, value)| (operator(plain), value));
                    value(ValueKind::Math(Box::new(first), rest.collect()))
                }),
                operand.prop_map(|operand| value(ValueKind::Negated(Box::new(operand)))),
                prop::collection::vec(inner.clone(), 0..3)
                    .prop_map(|items| value(ValueKind::List(items))),
                prop::collection::vec((any::<String>(), inner.clone()), 0..3).prop_map(|entries| {
                    let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
                    value(ValueKind::Map(entries.collect()))
                }),
                call(inner).prop_map(|call| value(ValueKind::Call(call))),
            ]
        })
        .boxed()
}

fn call(values: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Call> {
    let lambda = (prop::collection::vec("[a-m][a-z]{3}", 0..3), values.clone()).prop_filter_map(
        "distinct",
        |(parameters, body)| {
            let distinct: std::collections::BTreeSet<_> = parameters.iter().collect();
            let body = Body::Value(body);
            let parameters: Vec<Box<str>> = match distinct.len() == parameters.len() {
                true => parameters.into_iter().map(Into::into).collect(),
                false => return None,
            };
            Some(value(ValueKind::Lambda(Box::new(Lambda { parameters, body }))))
        },
    );
    let argument = (prop::option::of("[a-m][a-z]{4}"), prop_oneof![4 => values, 1 => lambda])
        .prop_map(|(name, value)| Argument { name: name.map(Into::into), value })
        .prop_filter("keywords", |argument| argument.name.as_deref() != Some("false"));
    ("[A-Z][A-Za-z0-9]{0,8}", prop::collection::vec(argument, 0..3)).prop_map(
        |(name, arguments)| Call {
            place: Place::default(),
            name: name.into(),
            arguments,
            keys: Vec::new(),
        },
    )
}

fn booleans() -> impl Strategy<Value = Boolean> {
    let operators = prop::sample::select(vec![
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::LessOrEqual,
        CompareOp::Greater,
        CompareOp::GreaterOrEqual,
    ]);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Boolean::Literal),
        call(values()).prop_map(Boolean::Call),
        (values(), operators, values()).prop_map(|(left, operator, right)| {
            Boolean::Compare(Box::new(Comparison { left, operator, right }))
        }),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Boolean::Not(Box::new(inner))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Boolean::And),
            prop::collection::vec(inner, 2..4).prop_map(Boolean::Or),
        ]
    })
}

proptest! {
    #[test]
    fn a_printed_tree_parses_to_the_same_tree(tree in booleans()) {
        let text = tree.to_string();
        let parsed = condition(&text);
        prop_assert_eq!(parsed, Ok(tree), "{}", text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        if let Err(error) = condition(&text) {
            prop_assert!(!error.caret(&text).is_empty());
        }
    }

    #[test]
    fn no_heap_of_tokens_makes_the_parser_panic(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "(", ")", "[", "]", "{", "}", ",", ".", ":", "=", "=>", "==", "<", "+", "-", "*", "/",
            "and", "or", "not", "nil", "true", "1", "2.5", "0xff", "\"s\"", "a", "F", "_", "X_Y",
            "attributes", "Int", "é", "\"", "\\",
        ]), 0..40),
        separator in prop::sample::select(vec!["", " "]),
    ) {
        let text = tokens.join(separator);
        if let Ok(tree) = condition(&text) {
            prop_assert_eq!(condition(&tree.to_string()), Ok(tree));
        }
    }
}
