//! Connections between a follower and its leader: kept, given up, never trusted with a change twice.
//!
//! The tests are the leader, connection by connection.

use hyper::StatusCode;

use super::*;

struct Leader {
    listener: TcpListener,
    address: SocketAddr,
}

/// The leader's end of a connection.
struct Line(TcpStream);

impl Leader {
    async fn new() -> Leader {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Leader { listener, address }
    }

    async fn line(&self) -> Line {
        Line(tokio::time::timeout(PATIENCE, self.listener.accept()).await.expect("a connection").unwrap().0)
    }

    /// One request and its answer, on a new connection.
    async fn serves(&self, follower: &Server) -> Line {
        let answered = asks(follower, "GET /ping", "");
        let mut line = self.line().await;
        line.asked().await;
        line.say(OK).await;
        answered.await.unwrap().expect(200, "ok");
        line
    }

    /// Nobody has come who was not let in.
    async fn is_left_alone(&self) {
        let accepted = tokio::time::timeout(Duration::from_millis(20), self.listener.accept()).await;
        assert!(accepted.is_err(), "a connection too many");
    }
}

impl Line {
    /// The head of the next request.
    async fn asked(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = tokio::time::timeout(PATIENCE, self.0.read_u8()).await.expect("a request");
            head.push(byte.expect("a request and no end"));
        }
        String::from_utf8(head).unwrap()
    }

    async fn body(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        tokio::time::timeout(PATIENCE, self.0.read_exact(&mut body)).await.expect("a body").unwrap();
        body
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits for the follower to hang up.
    async fn ends(mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("its end");
    }
}

/// One client's connection, byte by byte.
async fn client(follower: &Server, request: &str) -> TcpStream {
    let mut client = TcpStream::connect(follower.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

async fn hears(client: &mut TcpStream, what: &str) -> String {
    let mut heard = String::new();
    let mut piece = [0; 4096];
    while !heard.contains(what) {
        heard += &read(client, &mut piece).await;
    }
    heard
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn asks(follower: &Server, line: &'static str, body: &'static str) -> tokio::task::JoinHandle<Answer> {
    tokio::spawn(ask(follower.address, line, "", body))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_many_requests() {
    let leader = Leader::new().await;
    let follower = follower(leader.address).await;
    let mut line: Option<Line> = None;
    for (request, body, answer, want) in [
        ("GET /ping", "", OK, "ok"),
        ("PUT /v2/apps/a", "0123456789", OK, "ok"),
        ("GET /ping", "", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HEAD /ping", "", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", ""),
        ("GET /ping", "", "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", ""),
        ("GET /ping", "", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""),
        (
            "DELETE /a",
            "",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            "abc",
        ),
        ("GET /ping", "", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x"),
    ] {
        let answered = asks(&follower, request, body);
        let open = match &mut line {
            Some(line) => line,
            none => none.insert(leader.line().await),
        };
        assert!(open.asked().await.starts_with(request));
        assert_eq!(open.body(body.len()).await, body.as_bytes());
        open.say(answer).await;
        let answer = answered.await.unwrap();
        assert_eq!(answer.body.unwrap(), want, "{request}");
        assert!(!answer.headers.contains("transfer-encoding") || !want.is_empty(), "{}", answer.headers);
    }
    leader.is_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_pieces_passes_through_as_it_comes() {
    let leader = Leader::new().await;
    let follower = follower(leader.address).await;
    let mut client = client(&follower, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut line = leader.line().await;
    for (head, pieces) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", ["one", "two", "six"]),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ["3\r\nten\r\n", "3\r\nbox\r\n", "3\r\nend\r\n0\r\n\r\n"],
        ),
    ] {
        line.asked().await;
        line.say(head).await;
        hears(&mut client, "\r\n\r\n").await;
        for piece in pieces {
            line.say(piece).await;
            hears(&mut client, piece.trim_start_matches("3\r\n").trim_end_matches("\r\n0\r\n\r\n")).await;
        }
        client.write_all(b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    }
    // The third request has come on the same connection.
    line.asked().await;
    leader.is_left_alone().await;
}

/// Large bodies are not kept, so the leader reads the beginning before the client has written the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_passes_through_as_it_comes() {
    const HALF: usize = 1 << 20;
    let leader = Leader::new().await;
    let follower = follower(leader.address).await;
    let head = format!("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 2 * HALF);
    let mut client = client(&follower, &head).await;
    let mut line = leader.line().await;
    line.asked().await;
    for byte in [b'a', b'b'] {
        let half = vec![byte; HALF];
        let (written, seen) = tokio::join!(client.write_all(&half), line.body(HALF));
        written.unwrap();
        assert!(seen == half);
    }
    line.say(OK).await;
    hears(&mut client, "ok").await;
    let next = asks(&follower, "GET /ping", "");
    assert!(line.asked().await.starts_with("GET /ping "));
    line.say(OK).await;
    next.await.unwrap().expect(200, "ok");
}

/// The answer arrives, and the connection with half a request on it is not used again.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_the_upload() {
    let leader = Leader::new().await;
    let follower = follower(leader.address).await;
    for body in ["Content-Length: 9000000\r\n\r\nbegin", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"] {
        let mut client = client(&follower, &format!("PUT /a HTTP/1.1\r\nHost: h\r\n{body}")).await;
        let mut line = leader.line().await;
        line.asked().await;
        line.say("HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\n\r\nno!").await;
        assert!(hears(&mut client, "no!").await.starts_with("HTTP/1.1 413 "));
        line.ends().await;
    }
    leader.serves(&follower).await;
}

/// A leader may end a connection at any time between two requests; nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ended_takes_no_request() {
    let leader = Leader::new().await;
    let follower = follower(leader.address).await;
    for request in ["GET /ping", "POST /v2/apps", "DELETE /v2/apps/a", "PUT /v2/apps/b"] {
        let answered = asks(&follower, request, if request.starts_with('P') { "{}" } else { "" });
        let mut line = leader.line().await;
        assert!(line.asked().await.starts_with(request));
        line.say(OK).await;
        drop(line);
        answered.await.unwrap().expect(200, "ok");
    }
}

/// One that breaks under a request is another matter: only what changes nothing is asked for again, once.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_done_is_not_sent_twice() {
    let doubt = "; the change may or may not have been made";
    for (request, again) in
        [("GET /ping", true), ("HEAD /ping", true), ("PUT /v2/apps/a", false), ("DELETE /a", false)]
    {
        for second in [OK, ""] {
            let leader = Leader::new().await;
            let follower = follower(leader.address).await;
            let mut line = leader.serves(&follower).await;
            let answered = asks(&follower, request, if request.starts_with('P') { "{}" } else { "" });
            line.asked().await;
            drop(line);
            if again {
                let mut line = leader.line().await;
                assert!(line.asked().await.starts_with(request));
                line.say(second).await;
            }
            let answer = answered.await.unwrap();
            let want = if again && second == OK { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
            assert_eq!(answer.status, want.as_u16(), "{request}");
            if !again {
                answer.expect(502, doubt);
            }
            leader.is_left_alone().await;
        }
    }
}

/// Their lines end as well, and others get their place.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away() {
    let leader = Leader::new().await;
    let limits = Limits { at_once: 1, ..QUIET };
    let follower = start(|_| Lead::Other(leader.address.to_string().into()), limits, None).await;
    for said in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
        let mut client = client(&follower, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut line = leader.line().await;
        line.asked().await;
        line.say(said).await;
        if !said.is_empty() {
            hears(&mut client, "half").await;
        }
        drop(client);
        line.ends().await;
    }
    leader.serves(&follower).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_former_leaders_end() {
    let (before, after) = (Leader::new().await, Leader::new().await);
    let follower = follower(before.address).await;
    let mut former = None;
    for leader in [&before, &after] {
        follower.http.leadership.set(Lead::Other(leader.address.to_string().into()));
        let line = leader.serves(&follower).await;
        if let Some(former) = former.replace(line) {
            former.ends().await;
        }
    }
}

/// Half an answer stays half on a connection that was used before, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_later() {
    let leader = Leader::new().await;
    let follower = follower(leader.address).await;
    let mut line = leader.serves(&follower).await;
    for head in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = client(&follower, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
        line.asked().await;
        line.say(&format!("HTTP/1.1 200 OK\r\n{head}")).await;
        hears(&mut client, "half").await;
        drop(line);
        let mut rest = String::new();
        let _ = tokio::time::timeout(PATIENCE, client.read_to_string(&mut rest)).await.expect("its end");
        assert!(!rest.contains("0\r\n\r\n"), "{rest}");
        line = leader.serves(&follower).await;
    }
}
