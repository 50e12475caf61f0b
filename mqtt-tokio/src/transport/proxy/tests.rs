//! Scripted proxies, by literal bytes.

use tokio::io::duplex;

use super::*;

/// A script: what the client says, and what the proxy answers to that.
type Script<'a> = [(&'a [u8], &'a [u8])];

/// Plays `script`, whose answers are cut at `cut`, then sends `X` as the server behind it. Returns that byte.
async fn play(proxy: &str, host: &str, script: &Script<'_>, cut: usize) -> Result<u8, ProxyError> {
    let proxy = Proxy::new(proxy).unwrap();
    let (client, mut server) = duplex(32 * 1024);
    let serve = async {
        for (index, (said, answered)) in script.iter().enumerate() {
            let mut came = vec![0; said.len()];
            server.read_exact(&mut came).await.unwrap();
            assert_eq!(came.escape_ascii().to_string(), said.escape_ascii().to_string());
            let mut answer = answered.to_vec();
            if index + 1 == script.len() {
                answer.push(b'X');
            }
            let (first, second) = answer.split_at(cut.min(answer.len()));
            server.write_all(first).await.unwrap();
            tokio::task::yield_now().await;
            // The client may have read enough.
            let _ = server.write_all(second).await;
        }
        server.shutdown().await.unwrap();
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "more than the script");
    };
    let tunnel = async {
        let mut stream = proxy.tunnel(Box::new(client), host, 1883).await?;
        Ok(stream.read_u8().await?)
    };
    tokio::join!(tunnel, serve).0
}

const CONNECT: &[u8] = b"CONNECT broker.local:1883 HTTP/1.1\r\nHost: broker.local:1883\r\n\r\n";
const HELLO: &[u8] = b"\x05\x01\x00";
const ASK: &[u8] = b"\x05\x01\x00\x03\x0cbroker.local\x07\x5b";

#[tokio::test]
async fn tunnels_whatever_the_cuts() {
    let basic =
        b"CONNECT [::1]:1883 HTTP/1.1\r\nHost: [::1]:1883\r\nProxy-Authorization: Basic dTpwOkA=\r\n\r\n";
    let password: &Script<'_> = &[
        (b"\x05\x02\x00\x02", b"\x05\x02"),
        (b"\x01\x01u\x03p:@", b"\x01\x00"),
        (ASK, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"),
    ];
    let scripts: [(&str, &str, &Script<'_>); 8] = [
        (
            "http://p:80",
            "broker.local",
            &[(CONNECT, b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")],
        ),
        ("http://p:80", "broker.local", &[(CONNECT, b"HTTP/1.0 100 x\r\n\r\nHTTP/1.1 299\r\n\r\n")]),
        ("http://u:p%3a%40@p:80", "::1", &[(basic, b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n")]),
        ("socks5h://p", "broker.local", &[(HELLO, b"\x05\x00"), (ASK, b"\x05\x00\x00\x03\x01h\x00\x50")]),
        ("socks5h://u:p:%40@p", "broker.local", password),
        (
            "socks5h://u:p@p",
            "10.0.0.1",
            &[
                (b"\x05\x02\x00\x02", b"\x05\x00"),
                (b"\x05\x01\x00\x01\x0a\x00\x00\x01\x07\x5b", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"),
            ],
        ),
        (
            "socks5://p",
            "::1",
            &[
                (HELLO, b"\x05\x00"),
                (
                    b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x07\x5b",
                    b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
                ),
            ],
        ),
        (
            "socks5://p",
            "127.0.0.1",
            &[
                (HELLO, b"\x05\x00"),
                (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x07\x5b", b"\x05\x00\x00\x03\x00\x00\x50"),
            ],
        ),
    ];
    for (proxy, host, script) in scripts {
        let longest = script.iter().map(|(_, answer)| answer.len()).max().unwrap();
        for cut in 0..=longest {
            assert_eq!(play(proxy, host, script, cut).await.unwrap(), b'X', "{proxy} {cut}");
        }
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (status, expected, retry) in [
        (403, "the proxy answered with the HTTP status 403", false),
        (503, "the proxy answered with the HTTP status 503", true),
        (301, "the proxy answered with the HTTP status 301", true),
        (407, "the proxy wants user name and password", false),
    ] {
        let answer = format!("HTTP/1.1 {status} x\r\nProxy-Authenticate: Basic\r\n\r\n");
        let error = play("http://p:1", "broker.local", &[(CONNECT, answer.as_bytes())], 0).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_retryable()), (expected, retry));
    }
    for (reply, expected, retry) in [
        (1, "the proxy failed with the SOCKS5 reply 1", true),
        (2, "the proxy does not allow connections to this server", false),
        (3, "the proxy cannot reach the server", true),
        (4, "the proxy cannot reach the server", true),
        (5, "the server refused the connection of the proxy", true),
        (6, "the proxy had no answer from the server", true),
        (7, "the proxy does not support connections to such an address", true),
        (8, "the proxy does not support connections to such an address", true),
        (9, "the proxy failed with the SOCKS5 reply 9", true),
    ] {
        let script: &Script<'_> = &[(HELLO, b"\x05\x00"), (ASK, &[5, reply, 0, 1])];
        let error = play("socks5h://p", "broker.local", script, 0).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_retryable()), (expected, retry));
    }
}

#[tokio::test]
async fn credentials_are_wanted_or_refused() {
    let http = b"CONNECT h:1883 HTTP/1.1\r\nHost: h:1883\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
    for (proxy, script, refused) in [
        ("http://u:p@p:1", &[(&http[..], &b"HTTP/1.1 407 x\r\n\r\n"[..])][..], true),
        ("socks5h://p", &[(HELLO, b"\x05\xff")], false),
        ("socks5h://u:p@p", &[(b"\x05\x02\x00\x02", b"\x05\xff")], true),
        ("socks5h://u:p@p", &[(b"\x05\x02\x00\x02", b"\x05\x02"), (b"\x01\x01u\x01p", b"\x01\x01")], true),
    ] {
        let error = play(proxy, "h", script, 0).await.unwrap_err();
        match error {
            ProxyError::AuthenticationRefused => assert!(refused, "{proxy}"),
            ProxyError::AuthenticationWanted => assert!(!refused, "{proxy}"),
            other => panic!("{proxy}: {other}"),
        }
    }
}

#[tokio::test]
async fn another_way_to_authenticate_is_told_apart() {
    for (offers, supported) in [
        ("", true),
        ("Proxy-Authenticate: NTLM, basic realm=\"x\"\r\n", true),
        ("Proxy-Authenticate: Negotiate\r\nproxy-authenticate: Basic\r\n", true),
        ("Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n", false),
        ("Proxy-Authenticate: Basically\r\n", false),
    ] {
        let answer = format!("HTTP/1.1 407 x\r\n{offers}\r\n");
        let error = play("http://p:1", "broker.local", &[(CONNECT, answer.as_bytes())], 0).await.unwrap_err();
        match error {
            ProxyError::AuthenticationWanted => assert!(supported, "{offers}"),
            ProxyError::AuthenticationNotSupported => assert!(!supported, "{offers}"),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_proxy() {
    for (proxy, script) in [
        ("http://p:1", &[(CONNECT, &b"\x05\x00"[..])][..]),
        ("http://p:1", &[(CONNECT, b"HTTP/1.1 20\r\n\r\n")]),
        ("socks5h://p", &[(HELLO, b"HTTP/1.1 400 x\r\n\r\n")]),
        ("socks5h://p", &[(HELLO, b"\x04\x00")]),
        ("socks5h://p", &[(HELLO, b"\x05\x02")]),
        ("socks5h://u:p@p", &[(b"\x05\x02\x00\x02", b"\x05\x02"), (b"\x01\x01u\x01p", b"\x05\x00")]),
        ("socks5h://p", &[(HELLO, b"\x05\x00"), (ASK, b"\x04\x00\x00\x01")]),
        ("socks5h://p", &[(HELLO, b"\x05\x00"), (ASK, b"\x05\x00\x00\x02")]),
    ] {
        let error = play(proxy, "broker.local", script, 0).await.unwrap_err();
        assert!(matches!(error, ProxyError::Malformed(_)), "{error}");
    }
    let long = [b"HTTP/1.1 200 ", &[b'x'; 16 * 1024][..]].concat();
    let error = play("http://p:1", "broker.local", &[(CONNECT, &long)], 0).await.unwrap_err();
    assert!(matches!(error, ProxyError::TooLong), "{error}");
    for (proxy, said) in [("http://p:1", CONNECT), ("socks5h://p", HELLO)] {
        let (client, mut server) = duplex(4096);
        let proxy = Proxy::new(proxy).unwrap();
        let serve = async {
            server.read_exact(&mut vec![0; said.len()]).await.unwrap();
            drop(server);
        };
        let (tunnel, ()) = tokio::join!(proxy.tunnel(Box::new(client), "broker.local", 1883), serve);
        assert!(matches!(tunnel.err(), Some(ProxyError::Io(_))));
    }
}

#[tokio::test]
async fn no_name_of_a_server_changes_the_request() {
    for kind in ["http", "socks5", "socks5h"] {
        for host in
            ["", "a b", "a\r\nx: y", "a:80", "a/b", "u@a", "büro", "[::1]", "fe80::1%1", &"a".repeat(256)]
        {
            let (client, mut server) = duplex(4096);
            let proxy = Proxy::new(&format!("{kind}://p:1")).unwrap();
            let tunnel = proxy.tunnel(Box::new(client), host, 1883).await;
            assert!(matches!(tunnel.err(), Some(ProxyError::InvalidHost)), "{host}");
            assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "nothing was sent");
        }
    }
}

#[test]
fn addresses() {
    for (uri, kind, host, port, user) in [
        ("http://proxy:3128", Kind::Http, "proxy", 3128, None),
        ("HTTP://u%3b:@[::1]:80/", Kind::Http, "::1", 80, Some("u;")),
        ("socks5://p", Kind::Socks5, "p", 1080, None),
        ("socks5h://u:p@p:9", Kind::Socks5h, "p", 9, Some("u")),
    ] {
        let proxy = Proxy::new(uri).unwrap();
        assert_eq!((proxy.kind, proxy.host(), proxy.port()), (kind, host, port), "{uri}");
        assert_eq!(proxy.credentials.as_ref().map(|(user, _)| user.as_str()), user);
    }
    for (uri, error) in [
        ("proxy:3128", "no scheme"),
        ("https://p:1", "unknown scheme"),
        ("socks4://p", "unknown scheme"),
        ("http://p", "invalid port"),
        ("http://p:0", "invalid port"),
        ("socks5://", "no host"),
        ("socks5://p:1/x", "a path"),
        ("http://a%3ab:c@p:1", "cannot be sent"),
        ("http://a%0d%0a:c@p:1", "cannot be sent"),
        ("socks5://u@p", "cannot be sent"),
        (&format!("socks5://u:{}@p", "p".repeat(256)), "cannot be sent"),
    ] {
        let shown = Proxy::new(uri).unwrap_err().to_string();
        assert!(shown.contains(error), "{uri}: {shown}");
    }
    let shown = format!("{:?}", Proxy::new("http://user:secret@p:1").unwrap());
    assert!(shown.contains("user") && !shown.contains("secret"), "{shown}");
}
