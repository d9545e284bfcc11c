//! Names that traces are made of: a small shop's services and what they do.

/// A service and its habits.
pub struct Service {
    /// `service.name`.
    pub name: &'static str,
    /// `telemetry.sdk.language`.
    pub language: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// Routes it serves: method and template.
    pub routes: &'static [(&'static str, &'static str)],
    /// The table or collection it keeps.
    pub table: &'static str,
    /// The RPC service it offers.
    pub rpc: &'static str,
}

const fn service(
    name: &'static str,
    language: &'static str,
    version: &'static str,
    routes: &'static [(&'static str, &'static str)],
    table: &'static str,
    rpc: &'static str,
) -> Service {
    Service { name, language, version, routes, table, rpc }
}

/// All services; the first two take requests from outside.
#[rustfmt::skip]
pub static SERVICES: &[Service] = &[
    service("frontend", "nodejs", "3.12.0", &[("GET", "/"), ("GET", "/product/{id}"), ("POST", "/cart")], "sessions", "shop.Frontend"),
    service("mobile-gateway", "go", "1.8.4", &[("GET", "/v2/home"), ("POST", "/v2/orders")], "devices", "shop.MobileGateway"),
    service("checkout", "go", "2.3.1", &[("POST", "/checkout"), ("GET", "/checkout/{order}")], "orders", "shop.Checkout"),
    service("cart", "dotnet", "1.4.0", &[("GET", "/cart/{user}"), ("PUT", "/cart/{user}/items")], "carts", "shop.Cart"),
    service("payment", "java", "5.0.2", &[("POST", "/charge"), ("POST", "/refund")], "charges", "shop.Payment"),
    service("product-catalog", "go", "1.9.7", &[("GET", "/products"), ("GET", "/products/{id}")], "products", "shop.Catalog"),
    service("inventory", "rust", "0.9.3", &[("GET", "/stock/{sku}"), ("POST", "/reserve")], "stock", "shop.Inventory"),
    service("shipping", "rust", "0.7.1", &[("POST", "/quote"), ("POST", "/ship")], "shipments", "shop.Shipping"),
    service("search", "java", "4.1.0", &[("GET", "/search")], "documents", "shop.Search"),
    service("recommendation", "python", "2.0.5", &[("GET", "/recommend")], "features", "shop.Recommendation"),
    service("auth", "java", "6.2.0", &[("POST", "/token"), ("GET", "/session/{id}")], "credentials", "shop.Auth"),
    service("notification", "python", "1.1.9", &[("POST", "/notify")], "messages", "shop.Notification"),
    service("currency", "cpp", "1.0.3", &[("GET", "/convert")], "rates", "shop.Currency"),
    service("ad", "java", "2.2.2", &[("GET", "/ads")], "campaigns", "shop.Ad"),
    service("email", "ruby", "1.3.3", &[("POST", "/send")], "templates", "shop.Email"),
    service("accounting", "dotnet", "3.0.0", &[("POST", "/ledger")], "ledger", "shop.Accounting"),
    service("fraud-detection", "kotlin", "1.5.6", &[("POST", "/score")], "signals", "shop.Fraud"),
    service("user-profile", "nodejs", "2.8.0", &[("GET", "/users/{id}")], "users", "shop.Profile"),
    service("image-provider", "go", "0.4.2", &[("GET", "/images/{id}")], "images", "shop.Image"),
    service("review", "php", "1.6.1", &[("GET", "/reviews/{id}"), ("POST", "/reviews")], "reviews", "shop.Review"),
];

/// Methods of an RPC service.
pub static METHODS: &[&str] = &["Get", "List", "Update", "Validate"];

/// What a client asks of a table.
pub static OPERATIONS: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE"];

/// What happens inside of a service.
pub static STEPS: &[&str] =
    &["validate input", "render response", "apply discounts", "serialize", "load session"];

/// Callers outside.
pub static USER_AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/131.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) Version/17.6",
    "okhttp/4.12.0",
    "curl/8.9.1",
];

/// Exceptions and the first lines of what they say.
pub static EXCEPTIONS: &[(&str, &str)] = &[
    ("java.net.SocketTimeoutException", "Read timed out after 2000 ms"),
    ("io.grpc.StatusRuntimeException", "UNAVAILABLE: upstream connect error"),
    ("ValueError", "quantity must be positive"),
    ("System.InvalidOperationException", "Sequence contains no matching element"),
];
