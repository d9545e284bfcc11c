//! TLS settings of servers and clients. Source: collector config/configtls.

use std::time::Duration;

use super::problems::{Path, Problems};
use crate::{config_enum, config_struct};

config_enum! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2.
        V1_2 = "1.2",
        /// TLS 1.3.
        V1_3 = "1.3",
    }
}

config_struct! {
    /// What servers and clients have in common.
    #[derive(PartialEq)]
    pub struct TlsConfig {
        /// File with the certificates that the peer's must lead to.
        pub ca_file: String = String::new(),
        /// The same, in place.
        pub ca_pem: Secret = Secret::default(),
        /// File with our certificate chain.
        pub cert_file: String = String::new(),
        /// The same, in place.
        pub cert_pem: Secret = Secret::default(),
        /// File with our private key.
        pub key_file: String = String::new(),
        /// The same, in place.
        pub key_pem: Secret = Secret::default(),
        /// Whether the system's certificates count besides `ca_file`.
        pub include_system_ca_certs_pool: bool = false,
        /// Oldest version that is spoken.
        pub min_version: TlsVersion = TlsVersion::V1_2,
        /// Newest version that is spoken.
        pub max_version: TlsVersion = TlsVersion::V1_3,
        /// Files are read again at a handshake after this time; 0 never does.
        pub reload_interval: Duration = Duration::ZERO,
    }
}

config_struct! {
    /// `tls` of a server: on when the section is there.
    #[derive(PartialEq)]
    pub struct ServerTlsConfig {
        /// File with the certificates that a client's must lead to; then clients need one.
        pub client_ca_file: String = String::new(),
        /// Whether `client_ca_file` is read again when it changes.
        pub client_ca_file_reload: bool = false,
    }
    flatten {
        /// Certificate, key and versions.
        pub common: TlsConfig = TlsConfig::default(),
    }
}

config_struct! {
    /// `tls` of a client: on unless it is `insecure`.
    #[derive(PartialEq)]
    pub struct ClientTlsConfig {
        /// Speak without TLS. Has no effect once a CA is given.
        pub insecure: bool = false,
        /// Take any certificate.
        pub insecure_skip_verify: bool = false,
        /// The name that the server's certificate must have, instead of the endpoint's host.
        pub server_name_override: String = String::new(),
    }
    flatten {
        /// Certificates, key and versions.
        pub common: TlsConfig = TlsConfig::default(),
    }
}

/// Text that is not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"[REDACTED]\"" })
    }
}

impl super::Decode for Secret {
    fn decode(node: &super::Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        String::decode(node, at, problems).map(Self)
    }
}

impl TlsConfig {
    /// Whether a CA is given.
    pub fn has_ca(&self) -> bool {
        !self.ca_file.is_empty() || !self.ca_pem.0.is_empty()
    }

    /// Whether a certificate is given.
    pub fn has_cert(&self) -> bool {
        !self.cert_file.is_empty() || !self.cert_pem.0.is_empty()
    }

    /// Whether a private key is given.
    pub fn has_key(&self) -> bool {
        !self.key_file.is_empty() || !self.key_pem.0.is_empty()
    }

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let pairs = [
            ("ca_file", &self.ca_file, "ca_pem", &self.ca_pem),
            ("cert_file", &self.cert_file, "cert_pem", &self.cert_pem),
            ("key_file", &self.key_file, "key_pem", &self.key_pem),
        ];
        for (file_key, file, pem_key, pem) in pairs {
            if !file.is_empty() && !pem.0.is_empty() {
                problems.report(&at.key(file_key), format!("set either this or {pem_key}"));
            }
        }
        if (self.min_version, self.max_version) == (TlsVersion::V1_3, TlsVersion::V1_2) {
            problems.report(&at.key("min_version"), "must not be above max_version");
        }
    }
}

impl ServerTlsConfig {
    /// Reports what is wrong.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.common.validate(at, problems);
        if !self.common.has_cert() {
            problems.report(at, "a server needs a certificate: set cert_file or cert_pem");
        }
        if !self.common.has_key() {
            problems.report(at, "a server needs a private key: set key_file or key_pem");
        }
    }
}

impl ClientTlsConfig {
    /// Whether TLS is spoken with an endpoint that does not say so itself.
    pub fn is_on(&self) -> bool {
        !self.insecure || self.common.has_ca()
    }

    /// Reports what is wrong.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.common.validate(at, problems);
        match (self.common.has_cert(), self.common.has_key()) {
            (true, false) => problems.report(at, "a certificate needs its key: set key_file"),
            (false, true) => problems.report(at, "a key needs its certificate: set cert_file"),
            _ => {}
        }
    }
}
