//! What each function gives.

use super::*;

#[test]
fn patterns_match_anything_but_nil() {
    check_true(&[
        "IsMatch(name, \"cart\")",
        "IsMatch(name, \"^GET /c\") and not IsMatch(name, \"^cart\")",
        "IsMatch(attributes[\"http.status_code\"], \"^5\\\\d\\\\d$\")",
        "IsMatch(attributes[\"retried\"], \"^true$\")",
        "IsMatch(attributes[\"ratio\"], \"^0\\\\.25$\")",
        "IsMatch(attributes[\"blob\"], \"^cafe$\")",
        "IsMatch(attributes[\"map\"], \"^\\\\{\\\"count\\\":3,\\\"name\\\":\\\"inner\\\"\\\\}$\")",
        "IsMatch(attributes[\"list\"], \"^\\\\[\\\"a\\\",2\")",
        "not IsMatch(attributes[\"absent\"], \".*\")",
        "IsMatch(name, Concat([\"ca\", \"rt\"], \"\"))",
        "IsMatch(name, attributes[\"http.method\"])",
        "ExtractPatterns(name, \"^(?P<verb>\\\\w+) (?P<path>.*)$\")[\"path\"] == \"/cart\"",
        "ExtractPatterns(name, \"^(?P<verb>\\\\d+)\") == {}",
    ]);
    check_error(
        "ExtractPatterns(name, \"x\") == {}",
        "ExtractPatterns: the pattern has no named group",
    );
    check_error("IsMatch(name, Concat([\"(\"], \"\"))", "IsMatch: bad pattern: unclosed group");
    check_error("IsMatch(name, attributes[\"absent\"])", "IsMatch: expected a string but got nil");
}

#[test]
fn types_are_told_apart() {
    check_true(&[
        "IsString(name) and not IsString(kind) and not IsString(attributes[\"absent\"])",
        "IsInt(kind) and not IsInt(attributes[\"ratio\"])",
        "IsDouble(attributes[\"ratio\"]) and not IsDouble(kind)",
        "IsBool(attributes[\"retried\"]) and not IsBool(name)",
        "IsMap(attributes) and IsMap(attributes[\"map\"]) and not IsMap(attributes[\"list\"])",
        "IsList(attributes[\"list\"]) and IsList(events) and not IsList(status)",
        "IsList([]) and not IsList(\"\")",
    ]);
    check_error("IsInt(attributes[\"list\"][9])", "IsInt: the index is out of bounds");
}

#[test]
fn values_are_converted() {
    check_true(&[
        "Int(\"12\") == 12 and Int(\"-3\") == -3 and Int(\"x\") == nil and Int(\"1.5\") == nil",
        "Int(1.9) == 1 and Int(-1.9) == -1 and Int(true) == 1 and Int(attributes[\"absent\"]) == nil",
        "Double(\"1.5\") == 1.5 and Double(2) == 2.0 and Double(false) == 0.0",
        "Double(attributes[\"absent\"]) == nil",
        "Bool(\"t\") and Bool(1) and not Bool(0.0) and Bool(attributes[\"absent\"]) == nil",
        "String(503) == \"503\" and String(1.5) == \"1.5\" and String(true) == \"true\"",
        "String(0xcafe) == \"cafe\" and String(attributes[\"absent\"]) == nil",
        "String([1, \"<\"]) == \"[1,\\\"\\\\u003c\\\"]\"",
        "String(Duration(\"1s\")) == \"1000000000\"",
        "String(span_id) == \"[10,11,12,13,1,2,3,4]\"",
        "String(start_time) == \"\\\"2023-11-14T22:13:20Z\\\"\"",
        "ParseInt(\"ff\", 16) == 255 and ParseInt(\"0xff\", 0) == 255",
        "Coalesce([attributes[\"absent\"], attributes[\"http.method\"], \"x\"]) == \"GET\"",
    ]);
    check_error(
        "Int(attributes[\"map\"]) == 1",
        "Int: expected a number, a string or a boolean but got a map",
    );
    check_error("Double(name) == 1", "Double: the string is no double");
    check_error("Bool(name)", "Bool: the string is no boolean");
}

#[test]
fn strings_are_cut_and_joined() {
    check_true(&[
        "Concat([name, attributes[\"absent\"], 1], \"-\") == \"GET /cart-<nil>-1\"",
        "Concat([], \"-\") == \"\"",
        "Substring(name, 4, 5) == \"/cart\"",
        "Substring(\"aéb\", 0, 2, utf8_safe=true) == \"a\" and Len(Substring(\"aéb\", 0, 2)) == 2",
        "Substring(length=1, target=name, start=0) == \"G\"",
        "Split(\"a,b,\", \",\") == [\"a\", \"b\", \"\"] and Split(\"aé\", \"\") == [\"a\", \"é\"]",
        "Len(Split(\"\", \",\")) == 1",
        "HasPrefix(name, \"GET\") and HasSuffix(name, \"cart\") and not HasPrefix(name, \"get\")",
        "HasPrefix(trace_id.string, \"0102\") and HasSuffix(kind.string, \"er\")",
        "ToLowerCase(name) == \"get /cart\" and ToUpperCase(\"ä\") == \"Ä\"",
        "ConvertCase(\"someName\", \"snake\") == \"some_name\"",
        "ConvertCase(\"some_name\", \"camel\") == \"SomeName\" and ConvertCase(\"A\", \"lower\") == \"a\"",
        "ToSnakeCase(\"aB\") == \"a_b\" and ToCamelCase(\"a_b\") == \"AB\"",
        "Trim(\"  a  \") == \"a\" and Trim(\"-a-\", \"-\") == \"a\" and Trim(\"éaé\", \"é\") == \"a\"",
        "TrimPrefix(name, \"GET \") == \"/cart\" and TrimSuffix(name, \"cart\") == \"GET /\"",
        "TrimPrefix(trace_id.string, \"0102\") == \"030405060708090a0b0c0d0e0fff\"",
    ]);
    check_error(
        "Substring(name, 5, 9) == \"\"",
        "Substring: the string ends before the substring does",
    );
    check_error("Substring(name, -1, 1) == \"\"", "Substring: the start must not be negative");
    check_error("Substring(name, 1, 0) == \"\"", "Substring: the length must be positive");
    check_error(
        "Substring(attributes[\"absent\"], 0, 1) == \"\"",
        "Substring: expected a string but got nil",
    );
    check_error("HasSuffix(kind, \"x\")", "HasSuffix: expected a string but got an integer");
}

#[test]
fn lists_and_maps_are_looked_through() {
    check_true(&[
        "Len(name) == 9 and Len(attributes[\"blob\"]) == 2 and Len([1, 2]) == 2 and Len({}) == 0",
        "ContainsValue(attributes[\"list\"], \"a\") and ContainsValue(attributes[\"list\"], 2.0)",
        "not ContainsValue(attributes[\"list\"], \"b\") and ContainsValue([kind], 2)",
        "ContainsValue(attributes[\"list\"], {\"deep\": 9})",
        "Index(name, \"/\") == 4 and Index(name, \"x\") == -1 and Index(name, \"\") == 0",
        "Index(attributes[\"list\"], 2) == 1 and Index([], 1) == -1",
        "Keys(attributes[\"map\"]) == [\"name\", \"count\"]",
        "Values(attributes[\"map\"]) == [\"inner\", 3]",
        "IsEmpty(attributes[\"absent\"]) and IsEmpty(\"\") and IsEmpty([]) and not IsEmpty(name)",
        "IsEmpty(parent_span_id) and not IsEmpty(events)",
    ]);
    check_error("Len(kind) == 1", "Len: expected a string, a map or a list but got an integer");
    check_error(
        "Len(attributes[\"absent\"]) == 0",
        "Len: expected a string, a map or a list but got nil",
    );
    check_error("ContainsValue(name, \"x\")", "ContainsValue: expected a list but got a string");
    check_error("Keys(name) == []", "Keys: expected a map but got a string");
}

#[test]
fn lambdas_go_through_lists_and_maps() {
    check_true(&[
        "Any(attributes, (k, v) => HasPrefix(k, \"http.\") and v == 503)",
        "All([1, 2], (_, v) => v < 3) and not All([1, 2], (i, _) => i == 0) and All([], (_, _) => false)",
        "Filter([1, 2, 3], (_, v) => v != 2) == [1, 3]",
        "Filter(attributes[\"map\"], (k, _) => k == \"count\") == {\"count\": 3}",
        "Find([1, 2, 3], (_, v) => v > 1) == 2 and Find([], (_, v) => true) == nil",
        "Find([5, 6], (_, v) => v > 5, (i, v) => i + v) == 7",
        "MapEach([1, 2], (i, v) => i + v) == [1, 3]",
        "MapEach(attributes[\"map\"], (k, _) => Len(k)) == {\"name\": 4, \"count\": 5}",
        "MapKeys(attributes[\"map\"], (k, _) => Concat([\"x\", k], \".\")) == {\"x.name\": \"inner\", \"x.count\": 3}",
        "MapKeys({\"a\": 1, \"b\": 2}, (_, _) => \"c\") == {\"c\": 2}",
        "Reduce([1, 2, 3], 0, (sum, _, v) => sum + v) == 6",
        "When(() => kind == 2, name, \"other\") == \"GET /cart\"",
        "Any([[1], [2]], (_, list) => Any(list, (_, v) => v == 2 and list[0] == v))",
        "Any([name], (_, name) => name == span.name)",
    ]);
    check_error("Any(name, (_, v) => true)", "Any: expected a list or a map but got a string");
    let wide = vec!["1"; 100].join(", ");
    check_error(
        &format!("Reduce([kind, {wide}], [], (deep, _, _) => [deep]) == []"),
        "Reduce: the value is nested too deep",
    );
    check_error("Any([1], (_, v) => v)", "Any: expected a boolean but got an integer");
    check_error(
        "MapKeys(attributes, (_, _) => 1) == {}",
        "MapKeys: expected a string as key but got an integer",
    );
}

#[test]
fn ids_are_made_of_bytes_or_hex() {
    check_true(&[
        "SpanID(span_id.string) == span_id and SpanID(0x0a0b0c0d01020304) == span_id",
        "TraceID(trace_id.string) == trace_id and IsRootSpan()",
    ]);
    check_error("SpanID(name) == span_id", "SpanID: an id has 8 bytes or 16 hex digits");
    check_error(
        "TraceID(attributes[\"absent\"]) == trace_id",
        "TraceID: an id has 16 bytes or 32 hex digits",
    );
    let mut child = Writer::new();
    child.bytes(4, &[1; 8]);
    assert_eq!(verdict_on("IsRootSpan()", &Fixture::with_span(child.into_vec())), Ok(false));
}

#[test]
fn durations_and_times_have_units() {
    check_true(&[
        "Nanoseconds(end_time - start_time) == 1500000000",
        "Microseconds(Duration(\"1.5ms\")) == 1500 and Milliseconds(Duration(\"1999us\")) == 1",
        "Seconds(end_time - start_time) == 1.5 and Minutes(Duration(\"90s\")) == 1.5",
        "Hours(Duration(\"90m\")) == 1.5 and Hours(Duration(\"-90m\")) == -1.5",
        "Now() > end_time and Now() - start_time > Duration(\"1h\")",
        "Unix(1700000000) == start_time and Unix(1700000001, nanoseconds=500000000) == end_time",
        "UnixSeconds(end_time) == 1700000001 and UnixMilli(end_time) == 1700000001500",
        "UnixMicro(start_time) == 1700000000000000 and UnixNano(start_time) == start_time_unix_nano",
        "Year(start_time) == 2023 and Month(start_time) == 11 and Day(start_time) == 14",
        "Weekday(start_time) == 2 and Hour(start_time) == 22 and Minute(start_time) == 13",
        "Second(start_time) == 20 and Nanosecond(end_time) == 500000000",
    ]);
    check_error(
        "Duration(name) == 1",
        "Duration: \"GET /cart\" is no duration, such as \"1h30m\" or \"1.5s\"",
    );
    check_error("Seconds(kind) == 1", "Seconds: expected a duration but got an integer");
    check_error("Hour(kind) == 1", "Hour: expected a time but got an integer");
}

#[test]
fn strings_are_hashed_and_encoded() {
    check_true(&[
        "FNV(\"foobar\") == -8821353812377114648",
        "XXH3(\"\") == \"2d06800538d394c2\"",
        "XXH128(\"\") == \"99aa06d3014798d86001c324468d497f\"",
        "Murmur3Hash(\"hello\") == \"47fa8b24\"",
        "Murmur3Hash128(\"hello\") == \"029bbd41b3a7d8cb191dae486a901e5b\"",
        "MD5(\"\") == \"d41d8cd98f00b204e9800998ecf8427e\"",
        "SHA1(\"\") == \"da39a3ee5e6b4b0d3255bfef95601890afd80709\"",
        "HasPrefix(SHA256(\"\"), \"e3b0c44298fc1c14\") and Len(SHA512(name)) == 128",
        "Hex(attributes[\"blob\"]) == \"cafe\" and Hex(\"a\") == \"61\" and Hex(true) == \"01\"",
        "Hex(1) == \"0000000000000001\" and Hex(1.0) == \"3ff0000000000000\" and Hex(attributes[\"absent\"]) == \"\"",
    ]);
    check_error("FNV(kind) == 1", "FNV: expected a string but got an integer");
    check_error(
        "Hex(trace_id) == \"\"",
        "Hex: expected bytes, a string or a number but got a trace id",
    );
}

#[test]
fn addresses_are_looked_up_in_networks() {
    check_true(&[
        "IsInCIDR(\"10.1.2.3\", [\"192.168.0.0/16\", \"10.0.0.0/8\"])",
        "IsInCIDR(\"::ffff:10.1.2.3\", [\"10.0.0.0/8\"]) and IsInCIDR(\"fe80::1\", [\"fe80::/10\"])",
        "not IsInCIDR(\"11.0.0.1\", [\"10.0.0.0/8\"]) and not IsInCIDR(name, [\"0.0.0.0/0\"])",
        "IsInCIDR(\"1.2.3.4\", [\"0.0.0.0/0\"]) and not IsInCIDR(\"1.2.3.4\", [\"::/0\"])",
        "IsInCIDR(\"10.0.0.1\", [Concat([\"10.0.0.0\", flags / 16], \"/\")])",
    ]);
    check_error(
        "IsInCIDR(\"10.0.0.1\", [name])",
        "IsInCIDR: the string is no network, such as \"10.0.0.0/8\"",
    );
    let refused = Condition::parse("IsInCIDR(name, [\"10.0.0.0/33\"])", Context::Span).unwrap_err();
    assert_eq!(refused.message, "\"10.0.0.0/33\" is no network, such as \"10.0.0.0/8\"");
}

#[test]
fn json_and_urls_are_taken_apart() {
    check_true(&[
        "ParseJSON(\"{\\\"a\\\": [1, {\\\"b\\\": null}]}\")[\"a\"][0] == 1.0",
        "ParseJSON(\"[true, \\\"x\\\"]\") == [true, \"x\"]",
        "URL(\"http://shop.example:8080/cart?id=1\")[\"url.port\"] == 8080",
        "URL(\"http://shop.example:8080/cart?id=1\")[\"url.domain\"] == \"shop.example\"",
        "URL(Concat([\"http://x\", \"/a.b\"], \"\"))[\"url.extension\"] == \"b\"",
    ]);
    check_error("ParseJSON(\"1\") == nil", "ParseJSON: the JSON is neither a list nor a map");
    check_error(
        "ParseJSON(name) == nil",
        "ParseJSON: the string is no JSON: expected value at line 1 column 1",
    );
    check_error("URL(status.message)[\"url.port\"] == 1", "the key is not in the map");
    check_error("URL(\"\") == {}", "URL: the string is empty");
    check_error("URL(\"http://a:b\") == {}", "URL: the port is no number");
}

#[test]
fn texts_are_formatted_as_go_does() {
    check_true(&[
        "Format(\"%s took %d ms\", [name, 12]) == \"GET /cart took 12 ms\"",
        "Format(\"%5d|%-5d|%05d|%+d\", [42, 42, -42, 42]) == \"   42|42   |-0042|+42\"",
        "Format(\"%.2f %e %g %v\", [1.5, 1.5, 1000000.0, 0.5]) == \"1.50 1.500000e+00 1e+06 0.5\"",
        "Format(\"%x %X %x\", [255, 255, \"hi\"]) == \"ff FF 6869\"",
        "Format(\"%v %v %v %v\", [nil, true, [1, \"a\"], {\"k\": 1}]) == \"<nil> true [1 a] map[k:1]\"",
        "Format(\"%q %t %c %b%%\", [\"a\", true, 65, 5]) == \"\\\"a\\\" true A 101%\"",
        "Format(\"%v %s\", [end_time - start_time, span_id]) == \"1.5s 0a0b0c0d01020304\"",
        "Format(\"%v\", [start_time]) == \"2023-11-14 22:13:20 +0000 UTC\"",
        "Format(\"%d %d\", [\"x\"]) == \"%!d(string=x) %!d(MISSING)\"",
        "Format(\"\", [1, \"x\"]) == \"%!(EXTRA int64=1, string=x)\"",
        "Format(\"%.2s|%8.3s\", [\"éab\", \"abcd\"]) == \"éa|     abc\"",
    ]);
    let refused = |text: &str| Condition::parse(text, Context::Span).unwrap_err().message;
    assert_eq!(refused("Format(\"%y\", [1]) == \"\""), "unknown verb %y");
    assert_eq!(
        refused("Format(\"%9999d\", [1]) == \"\""),
        "a width or precision of more than 1000"
    );
    assert_eq!(refused("Format(name, [1]) == \"\""), "must be a string in quotes");
}

#[test]
fn times_are_read_and_written() {
    check_true(&[
        "Time(\"2023-11-14 22:13:20\", \"%Y-%m-%d %H:%M:%S\") == start_time",
        "Time(\"2023-11-14T23:13:20+01:00\", \"%FT%T%z\") == start_time",
        "Time(\"14 Nov 2023\", \"%d %b %Y\", \"UTC\", locale=\"en-US\") < start_time",
        "FormatTime(end_time, \"%d.%m.%Y %H:%M:%S.%L\") == \"14.11.2023 22:13:21.5\"",
        "TruncateTime(end_time, Duration(\"1s\")) == Unix(1700000001)",
        "TruncateTime(end_time, Duration(\"24h\")) == Time(\"2023-11-14\", \"%F\")",
    ]);
    check_error("Time(name, \"%Y\") == start_time", "Time: \"GET /cart\" is not in the format");
    let refused = |text: &str| Condition::parse(text, Context::Span).unwrap_err().message;
    assert_eq!(refused("Time(name, \"%Q\") == nil"), "unknown directive %Q");
    assert_eq!(
        refused("Time(name, \"%F\", \"Europe/Berlin\") == nil"),
        "the only time zone known by name is UTC"
    );
}

#[test]
fn pairs_are_read_and_written() {
    check_true(&[
        r#"ParseKeyValue("name=ottl func=key_value") == {"name": "ottl", "func": "key_value"}"#,
        r#"ParseKeyValue("   k1=v1   k2==v2  k3=v3= ") == {"k1": "v1", "k2": "=v2", "k3": "v3="}"#,
        r#"ParseKeyValue("a=b c='this \"is\" a' d=\"  e \"") == {"a": "b", "c": "this \"is\" a", "d": "e"}"#,
        r#"ParseKeyValue("a=b c=d'='") == {"a": "b", "c": "d="}"#,
        r#"ParseKeyValue("k1@*v1_!_k2@**v2_!__k3@@*v3__", "@*", "_!_") == {"k1": "v1", "k2": "*v2", "_k3@": "v3__"}"#,
        r#"ParseKeyValue("a=1 a=2 b=é", "", "") == {"a": "2", "b": "é"}"#,
        r#"ToKeyValueString({"b": 1, "a": "x y"}) == "b=1 a=\"x y\"""#,
        r#"ToKeyValueString({"b": true, "a": "\"q\""}, ":", ",", true) == "a:\\\"q\\\",b:true""#,
        r#"ToKeyValueString({}) == """#,
    ]);
    let error = |text: &str, problem: &str| check_error(text, &format!("ParseKeyValue: {problem}"));
    error(r#"ParseKeyValue("") == {}"#, "the string is empty");
    error(r#"ParseKeyValue("a=b c") == {}"#, "a pair has no delimiter between key and value");
    error(r#"ParseKeyValue("k1=v1 k2='v2\"") == {}"#, "a quote is not closed");
    let unread = |text: &str| Condition::parse(text, Context::Span).unwrap_err();
    for text in [r#"ParseKeyValue(name, "!", "!") == {}"#, r#"ToKeyValueString({}, " ") == """#] {
        let error = unread(text);
        assert_eq!(error.to_string(), "must not be the same between pairs as within them");
        assert!(error.offset > text.find(',').unwrap(), "{text}");
    }
}

#[test]
fn lists_are_sorted() {
    check_true(&[
        "Sort([3, 1, 2]) == [1, 2, 3] and Sort([3, 1, 2], \"desc\") == [3, 2, 1]",
        "Sort([2, 1.5]) == [1.5, 2.0] and Sort([]) == []",
        "Sort([\"b\", true, 10]) == [\"10\", \"b\", \"true\"]",
        "Sort([2, [1]]) == [2, [1]] and Sort(name) == name",
    ]);
    let error = Condition::parse("Sort([1], \"up\") == [1]", Context::Span).unwrap_err();
    assert_eq!(error.to_string(), "must be \"asc\" or \"desc\"");
}

#[test]
fn base64_logarithms_and_made_up_ids() {
    check_true(&[
        "Base64Encode(\"aa?>\") == \"YWE/Pg==\" and Base64Decode(\"YWE/Pg==\") == \"aa?>\"",
        "Base64Encode(\"aa?>\", \"base64-raw-url\") == \"YWE_Pg\"",
        "Decode(\" YWE_Pg\\n\", \"base64-raw-url\") == \"aa?>\" and Decode(0x5957452f, \"base64\") == \"aa?\"",
        "Log(1) == 0.0 and Log(\"2.5\") > 0.91 and Log(2.5) < 0.92",
        "IsMatch(UUID(), \"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$\")",
        "IsMatch(UUIDv7(), \"^0[0-9a-f]{7}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$\")",
        "UUID() != UUID()",
    ]);
    check_error("Log(0) == 0.0", "Log: only numbers above 0 have a logarithm");
    check_error("Base64Decode(\"?\") == \"\"", "Base64Decode: the string is not in this encoding");
    let error = Condition::parse("Decode(name, \"utf-9\") == \"\"", Context::Span).unwrap_err();
    assert!(error.to_string().starts_with("must be \"base64\", "), "{error}");
}
