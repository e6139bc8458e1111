//! Requests to the hub and to where it redirects: who gets the token, what a status means, how long to be patient.

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::http::{HeaderMap, Response, header};
use ureq::{Agent, Body};

use super::agent;
use super::cancel::Cancel;
use super::config::{HubConfig, Retries, Token};
use super::patience::{Failure, Pace, Patience};
use super::url::{Origin, is_listed, join};
use crate::error::HubError;

const MAX_REDIRECTS: usize = 10;
const READ_LEN: usize = 1 << 16;

/// What a request is for; messages are made of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose<'a> {
    /// `owner/name`.
    pub(crate) repo: &'a str,
    pub(crate) revision: &'a str,
    /// As in "`what` could not be fetched".
    pub(crate) what: &'a str,
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Where it came from in the end.
    pub(crate) url: String,
    response: Response<Body>,
}

impl Reply {
    /// Whether the server sends the part that was asked for.
    pub(crate) fn is_partial(&self) -> bool {
        self.response.status() == 206
    }

    /// Bytes of the body, where the server says.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// First byte and length of the whole, from `Content-Range: bytes first-last/whole`.
    pub(crate) fn content_range(&self) -> Option<(u64, u64)> {
        let range = self.header(header::CONTENT_RANGE.as_str())?;
        let (part, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, _last) = part.split_once('-')?;
        Some((first.trim().parse().ok()?, whole.trim().parse().ok()?))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }
}

/// Asks one hub, and whatever hosts it redirects to.
#[derive(Debug)]
pub(crate) struct Client {
    direct: Agent,
    proxied: Option<Agent>,
    no_proxy: String,
    endpoint: String,
    origin: Origin,
    token: Option<Token>,
    retries: Retries,
    stall_timeout: Duration,
    /// Whether a server has answered anything yet.
    has_answer: AtomicBool,
    pub(crate) cancel: Cancel,
}

impl Client {
    pub(crate) fn new(config: &HubConfig, cancel: &Cancel) -> Result<Self, HubError> {
        let endpoint = config.endpoint.trim_end_matches('/').to_owned();
        let origin = Origin::of(&endpoint).ok_or_else(|| HubError::Setting {
            setting: "HF_ENDPOINT",
            problem: "it must be http://host or https://host, without user and password".to_owned(),
        })?;
        let agents = agent::build(config)?;
        cancel.watch(&agents.direct);
        agents.proxied.iter().for_each(|agent| cancel.watch(agent));
        Ok(Self {
            direct: agents.direct,
            proxied: agents.proxied,
            no_proxy: config.no_proxy.clone().unwrap_or_default(),
            endpoint,
            origin,
            token: config.token.clone(),
            retries: config.retries,
            stall_timeout: config.stall_timeout,
            has_answer: AtomicBool::new(false),
            cancel: cancel.clone(),
        })
    }

    /// `https://host[:port][/path]`, no slash at the end.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// `GET`, following redirects; `range` is the first and the last byte wanted.
    pub(crate) fn get(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        purpose: Purpose<'_>,
    ) -> Result<Reply, Failure> {
        let mut url = url.to_owned();
        let mut was_https = false;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send("GET", &url, range, &mut was_https, purpose)?;
            let Some(target) = redirect(&response) else {
                return self.accept(url, response, purpose);
            };
            url = join(&url, target).unwrap_or_default();
        }
        Err(self.odd(&url, purpose, "too many redirects").into())
    }

    /// The headers of `HEAD`; redirects are followed only within the hub, whose headers describe the file.
    pub(crate) fn head(&self, url: &str, purpose: Purpose<'_>) -> Result<HeaderMap, Failure> {
        let mut url = url.to_owned();
        let mut was_https = false;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send("HEAD", &url, None, &mut was_https, purpose)?;
            let target = redirect(&response).and_then(|target| join(&url, target));
            match target {
                Some(target) if Origin::of(&target).as_ref() == Some(&self.origin) => url = target,
                Some(_) => return Ok(response.into_parts().0.headers),
                None => {
                    let reply = self.accept(url, response, purpose)?;
                    return Ok(reply.response.into_parts().0.headers);
                }
            }
        }
        Err(self.odd(&url, purpose, "too many redirects").into())
    }

    /// One request, not following redirects. Never goes from https back to http.
    fn send(
        &self,
        method: &str,
        url: &str,
        range: Option<(u64, u64)>,
        was_https: &mut bool,
        purpose: Purpose<'_>,
    ) -> Result<Response<Body>, Failure> {
        self.cancel.check()?;
        let origin = Origin::of(url).filter(|origin| origin.is_https || !*was_https);
        let origin =
            origin.ok_or_else(|| self.odd(url, purpose, "a redirect that leads nowhere"))?;
        *was_https = origin.is_https;
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if let Some(token) = self.token.as_ref().filter(|_| origin == self.origin) {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        if let Some((first, last)) = range {
            request = request.header(header::RANGE, format!("bytes={first}-{last}"));
        }
        let request = request
            .body(())
            .map_err(|error| self.odd(url, purpose, &error.to_string()))?;
        let agent = match &self.proxied {
            Some(proxied) if !is_listed(&self.no_proxy, &origin.host) => proxied,
            _ => &self.direct,
        };
        let response = agent.run(request).map_err(|error| {
            if is_distrust(&error) {
                let cure = "NODE_EXTRA_CA_CERTS names the certificates of a company";
                return self.odd(url, purpose, &format!("{error}; {cure}")).into();
            }
            self.transport(&origin.host, &error)
        })?;
        self.has_answer.store(true, Ordering::Relaxed);
        Ok(response)
    }

    /// Reads `wanted` bytes of a body, piece by piece.
    ///
    /// # Errors
    /// Passing when the body ends early or stalls, also when it only trickles; whatever `sink` says.
    pub(crate) fn read(
        &self,
        reply: Reply,
        wanted: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), HubError>,
    ) -> Result<(), Failure> {
        let host = host_of(&reply.url);
        let is_exact = reply.content_length() == Some(wanted);
        let body = reply.response.into_body().into_with_config();
        let mut reader = body.limit(u64::MAX).reader();
        let mut buffer = vec![0; READ_LEN];
        let mut left = wanted;
        let mut pace = Pace::new(self.stall_timeout);
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(READ_LEN).min(READ_LEN);
            let read = reader.read(&mut buffer[..room]);
            self.cancel.check()?;
            let read = read.map_err(|error| Failure::passing(format!("{host}: {error}")))?;
            if read == 0 {
                let reason = format!("{host} closed the connection {left} bytes before the end");
                return Err(Failure::passing(reason));
            }
            sink(&buffer[..read])?;
            left -= read as u64;
            if left > 0 && !pace.is_kept(read as u64) {
                let seconds = self.stall_timeout.as_secs_f64();
                return Err(Failure::passing(format!(
                    "{host} sent next to nothing for {seconds} s"
                )));
            }
        }
        if is_exact {
            // Reading the end gives the connection back to the pool; everything wanted is here already.
            let _ = reader.read(&mut buffer);
        }
        Ok(())
    }

    /// Reads a whole body of at most `limit` bytes.
    pub(crate) fn read_all(&self, reply: Reply, limit: u64) -> Result<Vec<u8>, Failure> {
        let host = host_of(&reply.url);
        let body = reply.response.into_body().into_with_config();
        let bytes = body.limit(limit).read_to_vec();
        bytes.map_err(|error| self.transport(&host, &error))
    }

    /// A patience that is used up by failures in a row.
    pub(crate) fn patience(&self) -> Patience<'_> {
        Patience::new(&self.cancel, self.retries, host_of(&self.endpoint))
    }

    /// Repeats `work` while it fails in passing.
    pub(crate) fn retrying<T>(
        &self,
        purpose: Purpose<'_>,
        mut work: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        let mut patience = self.patience();
        loop {
            match work() {
                Ok(done) => return Ok(done),
                Err(failure) => patience.wait(failure, purpose)?,
            }
        }
    }

    /// An answer that makes no sense.
    pub(crate) fn odd(&self, url: &str, purpose: Purpose<'_>, problem: &str) -> HubError {
        HubError::Answer {
            what: purpose.what.to_owned(),
            host: host_of(url),
            problem: problem.to_owned(),
        }
    }

    fn transport(&self, host: &str, error: &ureq::Error) -> Failure {
        if self.cancel.is_cancelled() {
            return HubError::Cancelled.into();
        }
        Failure::Passing {
            reason: format!("{host}: {error}"),
            after: None,
            is_limit: false,
            // When nobody has answered so far there is no network, most likely: that is told sooner.
            cost: if self.has_answer.load(Ordering::Relaxed) {
                1
            } else {
                2
            },
        }
    }

    fn accept(
        &self,
        url: String,
        response: Response<Body>,
        purpose: Purpose<'_>,
    ) -> Result<Reply, Failure> {
        let status = response.status().as_u16();
        if status == 200 || status == 206 {
            return Ok(Reply { url, response });
        }
        let headers = response.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let host = host_of(&url);
        let is_hub = Origin::of(&url).as_ref() == Some(&self.origin);
        match status {
            408 | 429 | 500..=599 => Err(Failure::Passing {
                reason: format!("{host} answers with status {status}"),
                after: text("retry-after")
                    .and_then(|value| value.trim().parse().ok())
                    .map(Duration::from_secs),
                is_limit: status == 429,
                cost: 1,
            }),
            // A link of a storage host that has run out: the hub makes a new one.
            400 | 401 | 403 | 404 | 410 if !is_hub => Err(Failure::passing(format!(
                "{host} answers with status {status}"
            ))),
            401 | 403 | 404 => Err(self
                .refusal(status, text("x-error-code"), host, purpose)
                .into()),
            _ => Err(self.odd(&url, purpose, &format!("status {status}")).into()),
        }
    }

    /// What the hub means with 401, 403 or 404.
    fn refusal(
        &self,
        status: u16,
        code: Option<&str>,
        host: String,
        purpose: Purpose<'_>,
    ) -> HubError {
        let Purpose {
            repo,
            revision,
            what,
        } = purpose;
        let (repo, has_token) = (repo.to_owned(), self.has_token());
        let endpoint = self.endpoint.clone();
        match (code, status) {
            (Some("GatedRepo"), _) => HubError::Gated {
                page: format!("{endpoint}/{repo}"),
                repo,
                has_token,
            },
            (Some("RevisionNotFound"), _) => HubError::RevisionNotFound {
                repo,
                revision: revision.to_owned(),
                endpoint,
            },
            (Some("RepoNotFound"), _) | (None, 404) => HubError::RepoNotFound {
                repo,
                endpoint,
                has_token,
            },
            (_, 404) => HubError::Answer {
                what: what.to_owned(),
                host,
                problem: "it is not there any more".to_owned(),
            },
            _ => HubError::Refused {
                host,
                what: what.to_owned(),
                status,
                has_token,
            },
        }
    }
}

/// Whether the other side is not who it should be: that does not pass.
fn is_distrust(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => true,
        ureq::Error::Io(error) => error.kind() == ErrorKind::InvalidData,
        _ => false,
    }
}

fn redirect(response: &Response<Body>) -> Option<&str> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response
        .headers()
        .get(header::LOCATION)
        .filter(|_| is_redirect)?;
    location.to_str().ok()
}

/// The host alone: links to storage hosts carry signatures that no message should show.
pub(crate) fn host_of(url: &str) -> String {
    Origin::of(url).map_or_else(|| "an unknown host".to_owned(), |origin| origin.host)
}
