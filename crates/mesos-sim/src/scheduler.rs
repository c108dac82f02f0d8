//! Calls of schedulers: from the checks that need no state to what each call does.

use base64::Engine as _;
use bytes::Bytes;
use marathon_mesos_v1::{Call, CallType, Codec, DecodeError};

use crate::front::{Answer, Request, syntax_error, wrong_method};
use crate::sim::Sim;
use crate::validate;

impl Sim {
    pub(crate) fn scheduler(&mut self, request: &Request) -> Answer {
        let principal = match self.principal(request) {
            Ok(it) => it,
            Err(answer) => return answer,
        };
        if let Some(answer) = self.not_leading(request, "/api/v1/scheduler") {
            return answer;
        }
        if self.seats[request.seat].recovering {
            return Answer::text(503, "Master has not finished recovery");
        }
        if request.method != "POST" {
            return wrong_method("POST", &request.method);
        }
        let call = match read_call(request) {
            Ok(call) => call,
            Err(answer) => return answer,
        };
        self.call(request, call, principal.as_deref())
    }

    pub(crate) fn call(&mut self, request: &Request, call: Call, principal: Option<&str>) -> Answer {
        if call.r#type == Some(CallType::UNKNOWN as i32) {
            return Answer::empty(501);
        }
        let invalid = |why: String| Answer::text(400, format!("Failed to validate scheduler::Call: {why}"));
        if let Err(why) = validate::call(&call) {
            return invalid(why);
        }
        let Some(kind) = call.r#type.and_then(|it| CallType::try_from(it).ok()) else {
            return Answer::empty(501);
        };
        *self.counters.calls.entry(kind.as_str()).or_default() += 1;
        if let Some(subscribe) = call.subscribe.filter(|_| kind == CallType::SUBSCRIBE) {
            if let Some(why) = strange_principal(principal, subscribe.framework_info.principal.as_deref()) {
                return invalid(why);
            }
            let Some(codec) = accepted(request.header("Accept")) else {
                return Answer::text(
                    406,
                    "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
                );
            };
            if request.header("Mesos-Stream-Id").is_some() {
                return Answer::text(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header");
            }
            let stream = self.subscribe(request.conn, codec, subscribe, principal);
            return Answer::stream(codec, Some(stream));
        }
        let id = call.framework_id.as_ref().map(|it| it.value.clone()).unwrap_or_default();
        let found = self.subscribed(request, &id, principal);
        self.note_call(request, kind, &call.accept, &call.kill, found.is_ok());
        let framework = match found {
            Ok(framework) => framework,
            Err(answer) => return answer,
        };
        let call = Call { subscribe: None, ..call };
        self.obey(framework, kind, &call)
    }

    /// The framework of a call, if it is subscribed and this is its stream.
    pub(crate) fn subscribed(
        &self,
        request: &Request,
        id: &str,
        principal: Option<&str>,
    ) -> Result<usize, Answer> {
        let found = self.framework_ids.get(id).copied().filter(|at| self.frameworks[*at].removed.is_none());
        let Some(framework) = found else { return Err(Answer::text(400, "Framework cannot be found")) };
        let it = &self.frameworks[framework];
        if let Some(why) = strange_principal(principal, it.info.principal.as_deref()) {
            return Err(Answer::text(400, why));
        }
        let Some(subscription) = &it.subscription else {
            return Err(Answer::text(403, "Framework is not subscribed"));
        };
        match request.header("Mesos-Stream-Id") {
            None => {
                Err(Answer::text(400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"))
            }
            Some(given) if given != subscription.stream => Err(Answer::text(
                400,
                format!(
                    "The stream ID '{given}' included in this request didn't match the stream ID currently associated with framework ID {id}"
                ),
            )),
            Some(_) => Ok(framework),
        }
    }

    /// A call that is as it should be.
    pub fn obey(&mut self, framework: usize, kind: CallType, call: &Call) -> Answer {
        if self.call_is_lost() {
            return Answer::empty(202);
        }
        match kind {
            CallType::TEARDOWN => self.remove_framework(framework),
            CallType::ACCEPT => call.accept.iter().for_each(|it| self.accept(framework, it)),
            CallType::DECLINE => call.decline.iter().for_each(|it| self.decline(framework, it)),
            CallType::REVIVE => {
                self.revive(
                    framework,
                    call.revive.as_ref().map(|it| it.roles.as_slice()).unwrap_or_default(),
                );
            }
            CallType::SUPPRESS => {
                self.suppress(
                    framework,
                    call.suppress.as_ref().map(|it| it.roles.as_slice()).unwrap_or_default(),
                );
            }
            CallType::KILL => call.kill.iter().for_each(|it| self.kill(framework, it)),
            CallType::ACKNOWLEDGE => call.acknowledge.iter().for_each(|it| self.acknowledge(framework, it)),
            CallType::RECONCILE => call.reconcile.iter().for_each(|it| self.reconcile(framework, it)),
            CallType::SHUTDOWN => {
                if let Some(it) = &call.shutdown {
                    self.shut_executor_down(framework, &it.agent_id.value, &it.executor_id.value);
                }
            }
            CallType::ACCEPT_INVERSE_OFFERS => {
                if let Some(it) = &call.accept_inverse_offers {
                    self.answer_inverse(framework, &it.inverse_offer_ids, true, it.filters.as_ref());
                }
            }
            CallType::DECLINE_INVERSE_OFFERS => {
                if let Some(it) = &call.decline_inverse_offers {
                    self.answer_inverse(framework, &it.inverse_offer_ids, false, it.filters.as_ref());
                }
            }
            CallType::ACKNOWLEDGE_OPERATION_STATUS => {
                call.acknowledge_operation_status
                    .iter()
                    .for_each(|it| self.acknowledge_operation(framework, it));
            }
            CallType::RECONCILE_OPERATIONS => {
                call.reconcile_operations.iter().for_each(|it| self.reconcile_operations(framework, it));
            }
            CallType::UPDATE_FRAMEWORK => {
                if let Some(it) = &call.update_framework {
                    return match self.update_framework(framework, it) {
                        Ok(()) => Answer::empty(200),
                        Err(why) => Answer::text(400, why),
                    };
                }
            }
            // Executors of the simulation do not listen, and the allocator ignores requests.
            CallType::MESSAGE | CallType::REQUEST | CallType::SUBSCRIBE | CallType::UNKNOWN => {}
        }
        Answer::empty(202)
    }

    pub(crate) fn principal(&self, request: &Request) -> Result<Option<String>, Answer> {
        let Some(credentials) = &self.config.credentials else { return Ok(None) };
        let given = request.header("Authorization").and_then(|it| it.strip_prefix("Basic "));
        let decoded = given.and_then(|it| base64::engine::general_purpose::STANDARD.decode(it.trim()).ok());
        let text = decoded.and_then(|it| String::from_utf8(it).ok()).unwrap_or_default();
        let parts: Vec<&str> = text.split(':').collect();
        let found =
            credentials.iter().find(|(principal, secret)| parts == [principal.as_str(), secret.as_str()]);
        found.map(|(principal, _)| Some(principal.clone())).ok_or_else(|| {
            let mut answer = Answer::text(401, "401 Unauthorized.");
            answer
                .headers
                .insert(0, ("WWW-Authenticate", "Basic realm=\"mesos-master-scheduler\"".to_owned()));
            answer
        })
    }
}

pub(crate) fn read_call(request: &Request) -> Result<Call, Answer> {
    let Some(kind) = request.header("Content-Type") else {
        return Err(Answer::text(400, "Expecting 'Content-Type' to be present"));
    };
    let Some(codec) = Codec::from_media_type(kind) else {
        return Err(Answer::text(
            415,
            "Expecting 'Content-Type' of application/json or application/x-protobuf",
        ));
    };
    let body = match request.header("Content-Encoding") {
        Some("gzip") => {
            unzipped(&request.body).ok_or_else(|| Answer::text(400, "Failed to decompress the body"))?
        }
        _ => request.body.clone(),
    };
    codec.decode::<Call>(&body).map_err(|cause| match cause {
        DecodeError::Protobuf(_) => Answer::text(400, "Failed to parse body into Call protobuf"),
        DecodeError::Syntax(_) => syntax_error(&body),
        DecodeError::Json(error) => Answer::text(
            400,
            format!("Failed to convert JSON into Call protobuf: {}", in_their_words(&error.at, &error.what)),
        ),
    })
}

pub(crate) fn unzipped(body: &[u8]) -> Option<Bytes> {
    use std::io::Read as _;
    const MOST: u64 = 256 * 1024 * 1024;
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(body).take(MOST).read_to_end(&mut out).ok()?;
    Some(Bytes::from(out))
}

/// Mesos's words for what our parser found.
pub(crate) fn in_their_words(at: &str, what: &str) -> String {
    let field = at.rsplit(['.', ']']).next().unwrap_or_default();
    if what.contains("Missing required") {
        return format!("Missing required fields: {at}");
    }
    if at.is_empty() && what.contains("an object") {
        return "Expecting a JSON object".to_owned();
    }
    if what.contains("base64") {
        // The first character that is none.
        let symbol =
            what.split("symbol ").nth(1).and_then(|it| it.split([',', ' ']).next()?.parse::<u8>().ok());
        let symbol = symbol.map(|it| char::from(it).to_string()).unwrap_or_default();
        return format!("Failed to base64 decode bytes field '{field}': Invalid character '{symbol}'");
    }
    if let Some(found) = what.split("found ").nth(1) {
        let kind = found.trim_start_matches("an ").trim_start_matches("a ").trim_start_matches("the ");
        return format!(
            "Not expecting a JSON {} for field '{field}'",
            kind.split(' ').next().unwrap_or_default()
        );
    }
    format!("{at}: {what}")
}

pub(crate) fn strange_principal(authenticated: Option<&str>, stated: Option<&str>) -> Option<String> {
    match (authenticated, stated) {
        (Some(real), Some(stated)) if real != stated => Some(format!(
            "Authenticated principal '{real}' does not match principal '{stated}' set in `FrameworkInfo`"
        )),
        _ => None,
    }
}

pub(crate) fn accepted(header: Option<&str>) -> Option<Codec> {
    let Some(header) = header else { return Some(Codec::Json) };
    for part in header.split(',') {
        match part.split(';').next().unwrap_or_default().trim() {
            "application/json" | "*/*" | "application/*" => return Some(Codec::Json),
            "application/x-protobuf" => return Some(Codec::Protobuf),
            _ => {}
        }
    }
    None
}
