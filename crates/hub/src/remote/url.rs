//! As much of URLs as redirects and file names in a repository need.

use std::fmt::Write;

/// Scheme, host and port: what a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) is_https: bool,
    /// In lower case, without the brackets of an IPv6 address.
    pub(crate) host: String,
    port: u16,
}

impl Origin {
    /// `None` for anything but http and https, and for URLs with a user or password in them.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let uri: ureq::http::Uri = url.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().trim_matches(['[', ']']);
        (!host.is_empty()).then(|| Self {
            is_https,
            host: host.to_ascii_lowercase(),
            port: authority
                .port_u16()
                .unwrap_or(if is_https { 443 } else { 80 }),
        })
    }
}

/// Where `Location: target` of an answer to `url` leads.
pub(crate) fn join(url: &str, target: &str) -> Option<String> {
    if target.contains("://") {
        return Some(target.to_owned());
    }
    let (scheme, rest) = url.split_once("://")?;
    if let Some(target) = target.strip_prefix("//") {
        return Some(format!("{scheme}://{target}"));
    }
    let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(path_at);
    if target.starts_with('/') {
        return Some(format!("{scheme}://{host}{target}"));
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
    Some(format!("{scheme}://{host}{folder}{target}"))
}

/// A path in a repository as it stands in a URL: everything but letters, digits, `-._~` and, where allowed, `/` is escaped.
pub(crate) fn escape(text: &str, keep_slashes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || (byte == b'/' && keep_slashes) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Whether `host` is in a list such as `localhost, .example.com, *`: names stand for their subdomains too.
pub(crate) fn is_listed(list: &str, host: &str) -> bool {
    list.split([',', ' '])
        .map(|entry| entry.trim().to_ascii_lowercase())
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let name = entry.trim_start_matches('*').trim_start_matches('.');
            // A port in the list is not looked at; the colons of an IPv6 address are part of it.
            let name = match name.rsplit_once(':') {
                Some((name, _)) if !name.contains(':') => name,
                _ => name.trim_matches(['[', ']']),
            };
            let subdomain = host
                .strip_suffix(name)
                .is_some_and(|rest| rest.ends_with('.'));
            entry == "*" || host == name || (!name.is_empty() && subdomain)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_differ_in_scheme_host_and_port_only() {
        let of = |url| Origin::of(url).expect("a URL");
        assert_eq!(of("https://Hub.co/a?b"), of("https://hub.co:443"));
        assert_eq!(of("http://[::1]:80/x").host, "::1");
        for other in [
            "http://hub.co",
            "https://hub.co:444",
            "https://cdn.hub.co",
            "https://hub.co.evil",
        ] {
            assert_ne!(of("https://hub.co"), of(other), "{other}");
        }
        for bad in [
            "ftp://hub.co",
            "hub.co",
            "https://",
            "https://user:pass@hub.co",
            "file:///etc/passwd",
        ] {
            assert_eq!(Origin::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn locations_are_absolute_or_relative() {
        let url = "https://hub.co/a/b/c.bin?x=/y";
        for (target, expected) in [
            ("https://cdn.co/z", "https://cdn.co/z"),
            ("//cdn.co/z", "https://cdn.co/z"),
            ("/z?q", "https://hub.co/z?q"),
            ("d.bin", "https://hub.co/a/b/d.bin"),
        ] {
            assert_eq!(join(url, target).as_deref(), Some(expected), "{target}");
        }
        assert_eq!(
            join("https://hub.co", "z").as_deref(),
            Some("https://hub.co/z")
        );
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("dir/ä b#?.gguf", true), "dir/%C3%A4%20b%23%3F.gguf");
        assert_eq!(escape("refs/pr/1", false), "refs%2Fpr%2F1");
    }

    #[test]
    fn a_list_of_hosts_without_proxy_stands_for_subdomains() {
        let list = "localhost, .corp.example,internal:8080,::1,*.wild";
        for host in [
            "localhost",
            "corp.example",
            "a.corp.example",
            "internal",
            "x.internal",
            "::1",
            "a.wild",
        ] {
            assert!(is_listed(list, host), "{host}");
        }
        for host in ["notlocalhost", "corp.example.com", "example", "2::1"] {
            assert!(!is_listed(list, host), "{host}");
        }
        assert!(is_listed("*", "anything") && !is_listed("", "anything"));
    }
}
