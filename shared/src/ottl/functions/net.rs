//! Functions about addresses.

use std::net::IpAddr;

use super::types::{Kind, text};
use super::{Argument, Call, Env, EvalError, Function, Prepared, function, parameter};
use crate::ottl::node::Node;
use crate::ottl::url;
use crate::ottl::value::{Map, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "IsInCIDR",
        &[parameter("target", Kind::Text), parameter("networks", Kind::Many(&Kind::Text))],
        is_in_cidr,
    )
    .prepared_by(parse_literals),
    function("URL", &[parameter("uri", Kind::Text)], |call, env| {
        let text = call.text(0, env)?;
        if text.as_bytes().is_empty() {
            return Err(EvalError::fixed("the string is empty"));
        }
        let parts = url::parts(&text.to_str()).map_err(EvalError::fixed)?;
        let entries = parts.into_iter().map(|(key, part)| {
            let part = match part {
                url::Part::Text(text) => Value::Text(Text::Owned(text.into_bytes())),
                url::Part::Port(port) => Value::Int(port),
            };
            (Text::Borrowed(key.as_bytes()), part)
        });
        Ok(Value::Map(Map::Entries(entries.collect())))
    }),
];

/// A network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ottl) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let prefix = prefix.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    fn contains(self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros()
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        differing >= self.prefix
    }
}

/// Networks that are written out are parsed once, and have to be right.
fn parse_literals(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    let Some(Argument::Many(nodes)) = arguments.get(1) else { return Ok(Prepared::Nothing) };
    let mut networks = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Node::Constant(Value::Text(text)) = node else { return Ok(Prepared::Nothing) };
        let text = text.to_str();
        match Network::parse(&text) {
            Some(network) => networks.push(network),
            None => return Err((1, format!("{text:?} is no network, such as \"10.0.0.0/8\""))),
        }
    }
    Ok(Prepared::Networks(networks))
}

/// What is no address is in no network.
fn is_in_cidr<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    let target = call.text(0, env)?;
    let Ok(address) = target.to_str().parse::<IpAddr>() else { return Ok(Value::Bool(false)) };
    let address = address.to_canonical();
    if let Prepared::Networks(networks) = &call.prepared {
        return Ok(Value::Bool(networks.iter().any(|network| network.contains(address))));
    }
    for node in call.many(1) {
        let network = Network::parse(&text(node.evaluate(env)?)?.to_str())
            .ok_or(EvalError::fixed("the string is no network, such as \"10.0.0.0/8\""))?;
        if network.contains(address) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
