//! Functions about points in time. All times are in UTC.

use super::types::Kind;
use super::{Depends, Function, Parameter, function, optional, parameter};
use crate::clock;
use crate::ottl::time::Time;
use crate::ottl::value::Value;

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
