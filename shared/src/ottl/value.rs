//! What expressions give: values borrowed from the record and from the condition where that can be.

use std::borrow::Cow;

use super::time::Time;
use crate::wire::{AnyValue, Attributes, Fields, Metric, Resource, ScopeEntry};

/// A value while a condition is evaluated.
///
/// Lives as long as both the condition and the record, so that neither literals nor attributes are
/// copied.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// No value: an absent key, an attribute without a value, the literal `nil`.
    Nil,
    /// A boolean.
    Bool(bool),
    /// Any integer, also enums, counts and timestamps.
    Int(i64),
    /// A double.
    Double(f64),
    /// UTF-8 by contract; not checked.
    Text(Text<'a>),
    /// Opaque bytes.
    Bytes(Cow<'a, [u8]>),
    /// Compares only with its like, never with bytes or strings.
    TraceId([u8; 16]),
    /// Compares only with its like, never with bytes or strings.
    SpanId([u8; 8]),
    /// A point in time.
    Time(Time),
    /// Nanoseconds.
    Duration(i64),
    /// Keys and values in their order.
    Map(Map<'a>),
    /// Values in their order.
    List(List<'a>),
    /// A message that has no value of its own in a condition.
    Message(Message<'a>),
}

/// Messages that expressions can only count or compare with themselves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Message<'a> {
    /// The span's events, by the span.
    Events(&'a [u8]),
    /// The span's links, by the span.
    Links(&'a [u8]),
    /// The span's status.
    Status,
    /// The metric's data points, by the metric.
    Points(&'a [u8]),
    /// The data point's exemplars, by the data point, and the field that holds them.
    Exemplars { point: &'a [u8], number: u32 },
    /// The quantiles of a data point, by it.
    Quantiles(&'a [u8]),
    /// Buckets of an exponential histogram.
    Buckets(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A string that is part of the record.
    pub(super) fn text(text: &'a [u8]) -> Self {
        Value::Text(Text::Borrowed(text))
    }

    /// The type's name in messages.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Double(_) => "a double",
            Value::Text(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::TraceId(_) => "a trace id",
            Value::SpanId(_) => "a span id",
            Value::Time(_) => "a time",
            Value::Duration(_) => "a duration",
            Value::Map(_) => "a map",
            Value::List(_) => "a list",
            Value::Message(Message::Events(_)) => "events",
            Value::Message(Message::Links(_)) => "links",
            Value::Message(Message::Status) => "a status",
            Value::Message(Message::Points(_)) => "data points",
            Value::Message(Message::Exemplars { .. }) => "exemplars",
            Value::Message(Message::Quantiles(_)) => "quantiles",
            Value::Message(Message::Buckets(_)) => "buckets",
        }
    }

    /// The same value, borrowed from this one.
    #[inline]
    pub(super) fn reborrow(&self) -> Value<'_> {
        match self {
            Value::Text(text) => Value::text(text.as_bytes()),
            Value::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            Value::Map(Map::Entries(entries)) => Value::Map(Map::Slice(entries)),
            Value::List(List::Items(items)) => Value::List(List::Slice(items)),
            other => other.clone(),
        }
    }

    /// The same value, owned.
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            // Only paths give messages, and what holds a path is not made constant.
            Value::Nil | Value::Message(_) => Value::Nil,
            Value::Bool(value) => Value::Bool(value),
            Value::Int(value) => Value::Int(value),
            Value::Double(value) => Value::Double(value),
            Value::Text(text) => Value::Text(Text::Owned(text.into_vec())),
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Value::TraceId(id) => Value::TraceId(id),
            Value::SpanId(id) => Value::SpanId(id),
            Value::Time(time) => Value::Time(time),
            Value::Duration(nanos) => Value::Duration(nanos),
            Value::Map(map) => {
                let mut entries = Vec::new();
                map.each(|key, value| {
                    entries.push((Text::Owned(key.to_vec()), value.into_owned()));
                });
                Value::Map(Map::Entries(entries))
            }
            Value::List(list) => {
                let mut items = Vec::new();
                list.each(|_, value| items.push(value.into_owned()));
                Value::List(List::Items(items))
            }
        }
    }
}

impl<'a> From<AnyValue<'a>> for Value<'a> {
    #[inline]
    fn from(value: AnyValue<'a>) -> Self {
        match value {
            AnyValue::Empty => Value::Nil,
            AnyValue::String(text) => Value::text(text),
            AnyValue::Bool(value) => Value::Bool(value),
            AnyValue::Int(value) => Value::Int(value),
            AnyValue::Double(value) => Value::Double(value),
            AnyValue::Array(array) => Value::List(List::Array(array)),
            AnyValue::KeyValues(list) => Value::Map(Map::Fields { message: list, number: 1 }),
            AnyValue::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        }
    }
}

/// A string: part of the record or the condition, short and made here, or built.
#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    /// Part of the record or the condition.
    Borrowed(&'a [u8]),
    /// Ids in hex, numbers.
    Short(Short),
    /// Anything else.
    Owned(Vec<u8>),
}

/// Up to 32 bytes of text, as long as a trace id in hex.
#[derive(Debug, Clone, Copy)]
pub(super) struct Short {
    bytes: [u8; 32],
    length: u8,
}

impl<'a> Text<'a> {
    /// `id` in hex. The caller's ids have at most 16 bytes.
    pub(super) fn hex(id: &[u8]) -> Self {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut short = Short { bytes: [0; 32], length: 0 };
        let (pairs, _) = short.bytes.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(id) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            short.length += 2;
        }
        Text::Short(short)
    }

    /// What `value` is written as; on the heap only if longer than 32 bytes.
    pub(super) fn format(value: impl std::fmt::Display) -> Self {
        use std::io::Write as _;

        let mut short = Short { bytes: [0; 32], length: 0 };
        let mut rest = &mut short.bytes[..];
        if write!(rest, "{value}").is_ok() {
            let unused = rest.len();
            short.length = u8::try_from(32 - unused).unwrap_or(32);
            return Text::Short(short);
        }
        Text::Owned(value.to_string().into_bytes())
    }

    /// The text.
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Borrowed(bytes) => bytes,
            Text::Short(short) => &short.bytes[..usize::from(short.length)],
            Text::Owned(bytes) => bytes,
        }
    }

    /// The text as a string; what is not UTF-8 is replaced.
    pub(super) fn to_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    pub(super) fn into_vec(self) -> Vec<u8> {
        match self {
            Text::Owned(bytes) => bytes,
            other => other.as_bytes().to_vec(),
        }
    }

    /// The part from `start` to before `end`, which must be within the text.
    pub(super) fn slice(self, start: usize, end: usize) -> Text<'a> {
        match self {
            Text::Borrowed(bytes) => Text::Borrowed(bytes.get(start..end).unwrap_or_default()),
            Text::Short(mut short) => {
                let end = end.min(usize::from(short.length));
                let start = start.min(end);
                short.bytes.copy_within(start..end, 0);
                short.length = u8::try_from(end - start).unwrap_or(32);
                Text::Short(short)
            }
            Text::Owned(mut bytes) => {
                bytes.truncate(end);
                bytes.drain(..start.min(bytes.len()));
                Text::Owned(bytes)
            }
        }
    }
}

/// Keys and values. Of a key that occurs twice the first one is looked up.
#[derive(Debug, Clone)]
pub(super) enum Map<'a> {
    /// The `KeyValue`s of a message under a field number.
    Fields {
        /// The message that holds them.
        message: &'a [u8],
        /// Their field number.
        number: u32,
    },
    /// The attributes of a resource.
    Resource(Resource<'a>),
    /// The attributes of an instrumentation scope.
    Scope(ScopeEntry<'a>),
    /// Built by a function or a map of the condition.
    Entries(Vec<(Text<'a>, Value<'a>)>),
    /// The same, borrowed.
    Slice(&'a [(Text<'a>, Value<'a>)]),
}

impl<'a> Map<'a> {
    /// The first value under `key`.
    #[inline]
    pub(super) fn get(self, key: &[u8]) -> Option<Value<'a>> {
        match self {
            Map::Fields { message, number } => {
                Attributes::new(message, number).get(key).map(Value::from)
            }
            Map::Resource(resource) => resource.attribute(key).map(Value::from),
            Map::Scope(scope) => scope.attribute(key).map(Value::from),
            Map::Entries(entries) => {
                entries.into_iter().find(|(name, _)| name.as_bytes() == key).map(|(_, value)| value)
            }
            Map::Slice(entries) => entries
                .iter()
                .find(|(name, _)| name.as_bytes() == key)
                .map(|(_, value)| value.reborrow()),
        }
    }

    /// Calls `find` with each entry until it gives something.
    pub(super) fn find_map<T>(
        &self,
        mut find: impl FnMut(&[u8], Value<'_>) -> Option<T>,
    ) -> Option<T> {
        let found = |(key, value): (&'a [u8], AnyValue<'a>)| find(key, Value::from(value));
        match self {
            Map::Fields { message, number } => Attributes::new(message, *number).find_map(found),
            Map::Resource(resource) => resource.attributes().find_map(found),
            Map::Scope(scope) => scope.attributes().find_map(found),
            Map::Entries(entries) => {
                entries.iter().find_map(|(key, value)| find(key.as_bytes(), value.reborrow()))
            }
            Map::Slice(entries) => {
                entries.iter().find_map(|(key, value)| find(key.as_bytes(), value.reborrow()))
            }
        }
    }

    /// Calls `visit` with each entry.
    pub(super) fn each(&self, mut visit: impl FnMut(&[u8], Value<'_>)) {
        self.find_map(|key, value| {
            visit(key, value);
            None::<()>
        });
    }

    /// The entries, as long-lived as the map's content.
    pub(super) fn into_entries(self) -> Vec<(Text<'a>, Value<'a>)> {
        let borrowed =
            |(key, value): (&'a [u8], AnyValue<'a>)| (Text::Borrowed(key), Value::from(value));
        match self {
            Map::Fields { message, number } => {
                Attributes::new(message, number).map(borrowed).collect()
            }
            Map::Resource(resource) => resource.attributes().map(borrowed).collect(),
            Map::Scope(scope) => scope.attributes().map(borrowed).collect(),
            Map::Entries(entries) => entries,
            Map::Slice(entries) => entries
                .iter()
                .map(|(key, value)| (Text::Borrowed(key.as_bytes()), value.reborrow()))
                .collect(),
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        let mut count = 0;
        self.each(|_, _| count += 1);
        count
    }
}

/// Values in their order.
#[derive(Debug, Clone)]
pub(super) enum List<'a> {
    /// An `ArrayValue` message.
    Array(&'a [u8]),
    /// Built by a function or a list of the condition.
    Items(Vec<Value<'a>>),
    /// The same, borrowed.
    Slice(&'a [Value<'a>]),
}

impl<'a> List<'a> {
    /// The value at `index`, unless there are not so many.
    pub(super) fn get(self, index: i64) -> Option<Value<'a>> {
        let index = usize::try_from(index).ok()?;
        match self {
            List::Array(array) => AnyValue::elements(array).nth(index).map(Value::from),
            List::Items(mut items) => (index < items.len()).then(|| items.swap_remove(index)),
            List::Slice(items) => items.get(index).map(Value::reborrow),
        }
    }

    /// Calls `find` with each value and its index until it gives something.
    pub(super) fn find_map<T>(
        &self,
        mut find: impl FnMut(usize, Value<'_>) -> Option<T>,
    ) -> Option<T> {
        let built = |items: &[Value<'_>], find: &mut dyn FnMut(usize, Value<'_>) -> Option<T>| {
            items.iter().enumerate().find_map(|(index, item)| find(index, item.reborrow()))
        };
        match self {
            List::Array(array) => AnyValue::elements(array)
                .enumerate()
                .find_map(|(index, item)| find(index, Value::from(item))),
            List::Items(items) => built(items, &mut find),
            List::Slice(items) => built(items, &mut find),
        }
    }

    /// Calls `visit` with each value and its index.
    pub(super) fn each(&self, mut visit: impl FnMut(usize, Value<'_>)) {
        self.find_map(|index, value| {
            visit(index, value);
            None::<()>
        });
    }

    /// The values, as long-lived as the list's content.
    pub(super) fn into_items(self) -> Vec<Value<'a>> {
        match self {
            List::Array(array) => AnyValue::elements(array).map(Value::from).collect(),
            List::Items(items) => items,
            List::Slice(items) => items.iter().map(Value::reborrow).collect(),
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        let mut count = 0;
        self.each(|_, _| count += 1);
        count
    }
}

impl Message<'_> {
    /// How many messages there are; a status and buckets are no lists.
    pub(super) fn len(self) -> Option<usize> {
        let (message, number) = match self {
            Message::Events(span) => (span, 11),
            Message::Links(span) => (span, 13),
            Message::Exemplars { point, number } => (point, number),
            Message::Quantiles(point) => (point, 6),
            Message::Points(metric) => return Some(Metric::read(metric).points().count()),
            Message::Status | Message::Buckets(_) => return None,
        };
        Some(Fields::new(message).filter(|field| field.number == number).count())
    }
}
