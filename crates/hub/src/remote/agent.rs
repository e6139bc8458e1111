//! The HTTP clients: time limits, certificates, proxy.

use std::sync::Arc;

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use super::config::HubConfig;
use crate::error::HubError;

const USER_AGENT: &str = concat!("llm-runner-router/", env!("CARGO_PKG_VERSION"));

/// What requests are made with.
pub(crate) struct Agents {
    pub(crate) direct: Agent,
    /// For hosts that are reached through a proxy.
    pub(crate) proxied: Option<Agent>,
}

pub(crate) fn build(config: &HubConfig) -> Result<Agents, HubError> {
    let mut tls = TlsConfig::builder();
    if let Some(pem) = &config.ca_certificates {
        tls = tls.root_certs(RootCerts::Specific(Arc::new(parse_certificates(pem)?)));
    }
    let tls = tls.build();
    let proxy = config.proxy.as_deref().map(parse_proxy).transpose()?;
    Ok(Agents {
        direct: agent(config, tls.clone(), None),
        proxied: proxy.map(|proxy| agent(config, tls, Some(proxy))),
    })
}

/// Redirects are followed elsewhere: a token must not follow them.
fn agent(config: &HubConfig, tls: TlsConfig, proxy: Option<Proxy>) -> Agent {
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(proxy)
        .tls_config(tls)
        .user_agent(USER_AGENT)
        .timeout_resolve(Some(config.connect_timeout))
        .timeout_connect(Some(config.connect_timeout))
        .timeout_recv_response(Some(config.stall_timeout.max(config.connect_timeout)))
        .timeout_per_read(Some(config.stall_timeout))
        .timeout_per_write(Some(config.stall_timeout))
        .max_idle_connections(2 * config.connections)
        .max_idle_connections_per_host(config.connections)
        .build();
    agent.into()
}

fn parse_certificates(pem: &str) -> Result<Vec<ureq::tls::Certificate<'static>>, HubError> {
    let broken = |problem: String| HubError::Setting {
        setting: "certificates",
        problem,
    };
    let mut certificates = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|error| broken(error.to_string()))?
        {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(broken("there is none in PEM form".to_owned()));
    }
    Ok(certificates)
}

/// Messages do not repeat the value: it may hold a password.
fn parse_proxy(proxy: &str) -> Result<Proxy, HubError> {
    let broken = |problem: &str| HubError::Setting {
        setting: "proxy",
        problem: problem.to_owned(),
    };
    let parsed =
        Proxy::new(proxy).map_err(|_| broken("it must be http://[user:password@]host:port"))?;
    if !matches!(
        parsed.protocol(),
        ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https
    ) {
        return Err(broken("only http:// and https:// proxies are supported"));
    }
    Ok(parsed)
}
