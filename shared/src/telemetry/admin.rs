//! What components answer operators, on the port of the page of metrics.
//!
//! A component gives answers under a path. `GET {path}/{about}` asks all components that are there
//! under it, and shows what they say as one JSON list. Nothing can be changed this way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Answers questions of operators.
#[async_trait]
pub trait Answers: Send + Sync {
    /// What is known about `about`, the last part of the path as it was written. Called on the
    /// thread of the page of metrics, which must not be kept waiting for long.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn answer(&self, about: &str) -> Result<Value, NoAnswer>;
}

/// Why a question was not answered; the text is for the one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// The question makes no sense.
    Malformed(Cow<'static, str>),
    /// Not now.
    Unavailable(Cow<'static, str>),
}

/// Who answers what.
#[derive(Default)]
pub struct Admin(Mutex<BTreeMap<&'static str, Vec<Weak<dyn Answers>>>>);

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// Asks `answers` what is asked under `path`, such as `/api/traces`, for as long as somebody
    /// else holds it.
    pub fn add(&self, path: &'static str, answers: &Arc<dyn Answers>) {
        debug_assert!(path.starts_with('/') && !path.ends_with('/'));
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let present = paths.entry(path).or_default();
        present.retain(|answers| answers.strong_count() > 0);
        present.push(Arc::downgrade(answers));
    }

    /// Those who answer under `path`, in the order in which they came.
    fn find(&self, path: &str) -> Vec<Arc<dyn Answers>> {
        let paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paths.get(path).into_iter().flatten().filter_map(Weak::upgrade).collect()
    }

    /// What is answered to `GET path`: asks one after the other.
    ///
    /// # Errors
    /// The status of the answer, and why there is none.
    pub async fn ask(&self, path: &str) -> Result<Vec<Value>, (StatusCode, Cow<'static, str>)> {
        let nobody = || (StatusCode::NOT_FOUND, Cow::Borrowed("nothing is known under this path"));
        let (path, about) = path.rsplit_once('/').ok_or_else(nobody)?;
        let present = self.find(path);
        if present.is_empty() {
            return Err(nobody());
        }
        let mut values = Vec::with_capacity(present.len());
        for answers in present {
            let value = answers.answer(about).await.map_err(|error| match error {
                NoAnswer::Malformed(why) => (StatusCode::BAD_REQUEST, why),
                NoAnswer::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
            })?;
            values.push(value);
        }
        Ok(values)
    }
}

/// Answers every request that `router` knows nothing of.
pub(super) fn serve(router: Router<Arc<Admin>>, admin: Arc<Admin>) -> Router {
    router.fallback(respond).with_state(admin)
}

async fn respond(State(admin): State<Arc<Admin>>, method: Method, uri: Uri) -> Response {
    if ![Method::GET, Method::HEAD].contains(&method) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]).into_response();
    }
    let (status, value) = match admin.ask(uri.path()).await {
        Ok(values) => (StatusCode::OK, Value::Array(values)),
        Err((status, why)) => (status, json!({"error": why})),
    };
    let head = [(CONTENT_TYPE, "application/json")];
    (status, head, format!("{value:#}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower_service::Service as _;

    use super::*;

    /// Says its name; knows nothing of `0`, and is busy with `1`.
    struct Named(&'static str);

    #[async_trait]
    impl Answers for Named {
        async fn answer(&self, about: &str) -> Result<Value, NoAnswer> {
            match about {
                "0" => Err(NoAnswer::Malformed("no such number".into())),
                "1" => Err(NoAnswer::Unavailable("busy".into())),
                about => Ok(json!(format!("{} of {about}", self.0))),
            }
        }
    }

    #[track_caller]
    fn get(admin: &Arc<Admin>, method: &str, path: &str) -> (u16, String) {
        let mut service = serve(Router::new(), Arc::clone(admin));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let response = service.call(request).await.unwrap();
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap().split_whitespace().collect())
        })
    }

    #[test]
    fn all_who_are_there_are_asked() {
        let admin = Arc::new(Admin::default());
        let [one, two]: [Arc<dyn Answers>; 2] = [Arc::new(Named("a")), Arc::new(Named("b"))];
        admin.add("/api/things", &one);
        admin.add("/api/things", &two);
        let both = (200, "[\"aof7\",\"bof7\"]".to_owned());
        assert_eq!(get(&admin, "GET", "/api/things/7?pretty"), both);
        drop(one);
        assert_eq!(get(&admin, "GET", "/api/things/7"), (200, "[\"bof7\"]".to_owned()));
        drop(two);
        assert_eq!(get(&admin, "GET", "/api/things/7").0, 404);
    }

    #[test]
    fn what_cannot_be_answered_is_an_error_with_a_reason() {
        let admin = Arc::new(Admin::default());
        let answers: Arc<dyn Answers> = Arc::new(Named("a"));
        admin.add("/api/things", &answers);
        let error = |why: &str| format!("{{\"error\":\"{why}\"}}");
        assert_eq!(get(&admin, "GET", "/api/things/0"), (400, error("nosuchnumber")));
        assert_eq!(get(&admin, "GET", "/api/things/1"), (503, error("busy")));
        for path in ["/", "/api", "/api/things", "/api/things/7/8", "/api/other/7"] {
            assert_eq!(get(&admin, "GET", path), (404, error("nothingisknownunderthispath")));
        }
        assert_eq!(get(&admin, "POST", "/api/things/7").0, 405);
    }
}
