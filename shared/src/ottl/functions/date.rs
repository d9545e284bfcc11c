//! Functions about points in time. All times are in UTC.

use super::types::Kind;
use super::{
    Argument, Depends, EvalError, Function, Parameter, Prepared, function, optional, parameter,
};
use crate::clock;
use crate::ottl::calendar::Calendar;
use crate::ottl::time::Time;
use crate::ottl::value::{Text, Value};

const TIME: &[Parameter] = &[parameter("time", Kind::Time)];

pub(super) const FUNCTIONS: &[Function] = &[
    function("Now", &[], |_, _| Ok(Value::Time(Time::from_timestamp(clock::unix_ns()))))
        .depending_on(Depends::Clock),
    function(
        "Unix",
        &[parameter("seconds", Kind::Int), optional("nanoseconds", Kind::Int)],
        |call, env| {
            let nanos = if call.has(1) { call.int(1, env)? } else { 0 };
            Ok(Value::Time(Time::from_unix(call.int(0, env)?, nanos)))
        },
    ),
    function(
        "Time",
        &[
            parameter("time", Kind::Text),
            parameter("format", Kind::LiteralText),
            optional("location", Kind::LiteralText),
            optional("locale", Kind::LiteralText),
        ],
        |call, env| {
            let Prepared::Calendar(calendar) = &call.prepared else {
                return Err(EvalError::fixed("the format is no literal"));
            };
            let now = Time::from_timestamp(clock::unix_ns());
            calendar.read(&call.text(0, env)?.to_str(), now).map(Value::Time)
        },
    )
    .prepared_by(calendar),
    function(
        "FormatTime",
        &[parameter("time", Kind::Time), parameter("format", Kind::LiteralText)],
        |call, env| {
            let Prepared::Calendar(calendar) = &call.prepared else {
                return Err(EvalError::fixed("the format is no literal"));
            };
            let text = calendar.write(call.time(0, env)?);
            Ok(Value::Text(Text::Owned(text.into_bytes())))
        },
    )
    .prepared_by(calendar),
    function(
        "TruncateTime",
        &[parameter("time", Kind::Time), parameter("duration", Kind::Duration)],
        |call, env| Ok(Value::Time(call.time(0, env)?.truncate(call.duration(1, env)?))),
    ),
    function("UnixNano", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.unix_nanos()))),
    function("UnixMicro", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.unix(1_000)))),
    function("UnixMilli", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.unix(1_000_000)))),
    function("UnixSeconds", TIME, |call, env| {
        Ok(Value::Int(call.time(0, env)?.unix(1_000_000_000)))
    }),
    function("Year", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.date().year))),
    function("Month", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.date().month))),
    function("Day", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.date().day))),
    function("Weekday", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.date().weekday))),
    function("Hour", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.date().hour))),
    function("Minute", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.date().minute))),
    function("Second", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.date().second))),
    function("Nanosecond", TIME, |call, env| Ok(Value::Int(call.time(0, env)?.date().nanosecond))),
];

/// Formats are literals. Of the time zones only UTC is known, of the languages only English.
fn calendar(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    let literal = |index: usize| match arguments.get(index).and_then(Argument::constant) {
        Some((Value::Text(text), _)) => Some(text.to_str()),
        _ => None,
    };
    match literal(2).as_deref() {
        None | Some("" | "UTC" | "Local") => {}
        Some(_) => return Err((2, "the only time zone known by name is UTC".to_owned())),
    }
    match literal(3).as_deref() {
        None => {}
        Some(locale) if locale == "en" || locale.starts_with("en-") => {}
        Some(_) => return Err((3, "the only locale known is en".to_owned())),
    }
    let format = literal(1).unwrap_or_default();
    Calendar::parse(&format).map(Prepared::Calendar).map_err(|problem| (1, problem))
}
