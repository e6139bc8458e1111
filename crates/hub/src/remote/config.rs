//! How to reach a hub.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The hub that is asked when nothing else is said.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Where models are fetched from, where they are kept, and how patient the client is.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// `https://host[:port][/path]`.
    pub endpoint: String,
    /// The Hugging Face cache, the folder that holds `models--<org>--<name>`.
    pub cache: PathBuf,
    /// Sent to the endpoint's host and to no other.
    pub token: Option<Token>,
    /// `http://[user:password@]host:port` of a proxy that understands CONNECT.
    pub proxy: Option<String>,
    /// Hosts that are reached without the proxy: comma separated names, which stand for their subdomains too, or `*`.
    pub no_proxy: Option<String>,
    /// Root certificates to trust, PEM. `None`: those of Mozilla that are built in.
    pub ca_certificates: Option<String>,
    /// For finding and reaching a host.
    pub connect_timeout: Duration,
    /// A connection that brings nothing, or next to nothing, for this long is given up and the rest is asked for anew.
    pub stall_timeout: Duration,
    /// Connections for one large file.
    pub connections: usize,
    /// What is done about failures that may pass.
    pub retries: Retries,
}

impl HubConfig {
    /// The defaults, for a cache.
    #[must_use]
    pub fn new(cache: PathBuf) -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            cache,
            token: None,
            proxy: None,
            no_proxy: None,
            ca_certificates: None,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            connections: 8,
            retries: Retries::default(),
        }
    }
}

/// When a request is made again: after a lost connection, a stall, 408, 429 and 5xx. A try that brings a good part counts as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Tries in a row that bring next to nothing, the first one included.
    pub attempts: u32,
    /// Pause after the first failure; each further one is twice as long.
    pub first_pause: Duration,
    /// No pause is longer, and a `Retry-After` that asks for more ends the download.
    pub longest_pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// An access token; it shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Visible ASCII only, white space around it removed; `None` for anything else.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        let token = token.trim();
        let is_usable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_usable.then(|| Self(token.to_owned()))
    }

    /// The value of the `Authorization` header.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_trimmed_checked_and_never_shown() {
        let token = Token::new(" hf_secret\n").expect("usable");
        assert_eq!(token.header(), "Bearer hf_secret");
        assert_eq!(format!("{token:?}"), "Token(…)");
        for unusable in ["", " ", "two words", "break\r\nX: y", "ü"] {
            assert_eq!(Token::new(unusable), None, "{unusable:?}");
        }
    }
}
