//! Both tables, both ways.

use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use tonic::{Code, Status};

use super::*;
use crate::batch::Batch;
use crate::consumer::{Rejected, RejectedKind};
use crate::wire::{Signal, Writer};

fn batch() -> Batch {
    Batch::empty(Signal::Traces)
}

#[track_caller]
fn check_in(status: &Status, kind: RejectedKind, retry_after: Option<u64>) {
    let rejected = from_grpc(batch(), status);
    assert_eq!(rejected.kind, kind, "{status:?}");
    assert_eq!(rejected.retry_after, retry_after.map(Duration::from_secs), "{status:?}");
    assert_eq!(rejected.code, u8::try_from(i32::from(status.code())).ok());
}

fn with_retry_info(code: Code, seconds: u64) -> Status {
    let details = status_message(code, "later", Some(Duration::from_secs(seconds)));
    Status::with_details(code, "later", details.into())
}

#[test]
fn codes_that_otlp_calls_retryable_are_and_others_are_not() {
    use RejectedKind::{Permanent, Retryable};
    for code in (1..=16).map(Code::from_i32) {
        let kind = match code {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => Retryable,
            _ => Permanent,
        };
        check_in(&Status::new(code, "no"), kind, None);
    }
    check_in(&with_retry_info(Code::ResourceExhausted, 3), Retryable, Some(3));
    check_in(&with_retry_info(Code::Unavailable, 0), Retryable, Some(0));
    check_in(&with_retry_info(Code::InvalidArgument, 3), Permanent, None);
}

#[test]
fn an_error_of_the_connection_can_be_retried() {
    let rejected = connection_failed(batch(), &std::io::Error::other("broken pipe"));
    assert_eq!((rejected.kind, rejected.code), (RejectedKind::Retryable, None));
    assert_eq!(rejected.reached, Reached::Unknown);
    assert!(rejected.reason.ends_with("broken pipe"), "{rejected}");
}

#[test]
fn an_answer_that_is_not_grpc_has_the_code_of_its_http_status() {
    use RejectedKind::{Permanent, Retryable};
    let cases = [
        (400, 13, Permanent),
        (401, 16, Permanent),
        (403, 7, Permanent),
        (404, 12, Permanent),
        (429, 14, Retryable),
        (502, 14, Retryable),
        (503, 14, Retryable),
        (504, 14, Retryable),
        (200, 2, Permanent),
        (500, 2, Permanent),
    ];
    for (http, code, kind) in cases {
        let status = answer_is_not_grpc(StatusCode::from_u16(http).unwrap());
        let rejected = from_grpc(batch(), &status);
        assert_eq!((rejected.code, rejected.kind), (Some(code), kind), "{http}");
        assert!(rejected.reason.contains(&http.to_string()), "{rejected}");
    }
}

#[test]
fn a_delay_survives_from_tier_to_tier() {
    let first = Rejected::refused(batch(), "full").retry_after(Duration::from_millis(1500));
    let second = from_grpc(batch(), &to_grpc(&first));
    assert_eq!(second.retry_after, Some(Duration::from_millis(1500)));
    let third = from_grpc(batch(), &to_grpc(&second));
    assert_eq!(third.retry_after, Some(Duration::from_millis(1500)));
    assert_eq!(third.reason, "full");
    assert_eq!(http_failure(&third).retry_after, Some(2));
}

#[test]
fn a_permanent_code_survives_and_never_becomes_retryable() {
    for (code, sent) in [
        (None, Code::Internal),
        (Some(3), Code::InvalidArgument),
        (Some(8), Code::ResourceExhausted),
        (Some(0), Code::Internal),
        (Some(14), Code::Internal),
        (Some(99), Code::Unknown),
    ] {
        let status = to_grpc(&Rejected { code, ..Rejected::permanent(batch(), "no") });
        assert_eq!(status.code(), sent, "{code:?}");
        assert_eq!(from_grpc(batch(), &status).kind, RejectedKind::Permanent);
    }
}

#[test]
fn a_damaged_retry_info_is_no_delay() {
    let whole = status_message(Code::Unavailable, "later", Some(Duration::from_secs(3)));
    for length in 0..whole.len() {
        let status = Status::with_details(Code::Unavailable, "", whole[..length].to_vec().into());
        let delay = from_grpc(batch(), &status).retry_after;
        assert!(delay.is_none_or(|delay| delay <= Duration::from_secs(3)), "{length}: {delay:?}");
    }
    let mut negative = Writer::new();
    negative.message(3, |detail| {
        detail.bytes(1, RETRY_INFO.as_bytes());
        detail.message(2, |info| info.message(1, |duration| duration.varint(1, u64::MAX)));
    });
    let status = Status::with_details(Code::Unavailable, "", negative.into_vec().into());
    check_in(&status, RejectedKind::Retryable, None);
}

#[test]
fn http_statuses_follow_the_code() {
    let permanent = |code| http_failure(&Rejected::permanent(batch(), "no").code(code)).status;
    let expected = [(3, 400), (16, 401), (7, 403), (12, 404), (8, 429), (13, 500), (2, 500)];
    for (code, status) in expected {
        assert_eq!(permanent(code).as_u16(), status, "{code}");
    }
    let refused = http_failure(&Rejected::refused(batch(), "full"));
    assert_eq!((refused.status.as_u16(), refused.retry_after), (503, None));
}

#[test]
fn a_request_that_cannot_be_read_has_one_answer_in_each_protocol() {
    for (unread, code, status) in [
        (Unread::TooLarge(4), Code::ResourceExhausted, 413),
        (Unread::BadCompression("x".into()), Code::InvalidArgument, 400),
        (Unread::UnknownCompression("br".into()), Code::Unimplemented, 400),
        (Unread::Broken("x".into()), Code::InvalidArgument, 400),
        (Unread::Timeout, Code::DeadlineExceeded, 503),
    ] {
        assert_eq!(unread.to_grpc().code(), code, "{unread:?}");
        assert_eq!(Failure::from(&unread).status.as_u16(), status, "{unread:?}");
        assert!(unread.to_grpc().details().is_empty(), "no RetryInfo: {unread:?}");
    }
}

#[track_caller]
fn check_http(status: u16, retry_after: Option<&str>, kind: RejectedKind, delay: Option<u64>) {
    let mut headers = HeaderMap::new();
    if let Some(text) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap());
    }
    // Five seconds before the date in the tests below.
    let now = 784_111_772_000_000_000;
    let status = StatusCode::from_u16(status).unwrap();
    let rejected = from_http(batch(), status, &headers, &[], now);
    assert_eq!(rejected.kind, kind, "{status}");
    assert_eq!(rejected.retry_after, delay.map(Duration::from_secs), "{status} {retry_after:?}");
}

#[test]
fn http_answers_are_retried_as_otlp_says() {
    use RejectedKind::{Permanent, Retryable};
    for status in [429, 502, 503, 504] {
        check_http(status, None, Retryable, None);
    }
    for status in [301, 400, 401, 404, 408, 413, 500, 501] {
        check_http(status, Some("3"), Permanent, None);
    }
    check_http(429, Some("3"), Retryable, Some(3));
    check_http(503, Some("Sun, 06 Nov 1994 08:49:37 GMT"), Retryable, Some(5));
    check_http(503, Some("Sun, 06 Nov 1994 08:49:00 GMT"), Retryable, Some(0));
    check_http(503, Some("soon"), Retryable, None);
    check_http(504, Some("3"), Retryable, None);
}

#[test]
fn the_message_of_an_http_answer_is_passed_on() {
    let failure = http_failure(&Rejected::permanent(batch(), "bad span").code(3));
    let bodies =
        [("application/x-protobuf", failure.protobuf()), ("application/json", failure.json())];
    for (content_type, body) in bodies {
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let rejected = from_http(batch(), StatusCode::BAD_REQUEST, &headers, &body, 0);
        assert_eq!(rejected.code, Some(3), "{content_type}");
        assert!(rejected.reason.ends_with("400: bad span"), "{rejected}");
    }
}
