//! Whatever is sent to an endpoint, the answer is JSON and no failure of the server.

use wardroom_client_api::routes;

use crate::world::world;

const BODIES: [&[u8]; 12] = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"\"x\"",
    b"{",
    b"\xff\xfe",
    b"{\"auth\":{}}",
    b"{\"auth\":{\"type\":5}}",
    b"{\"type\":\"m.login.password\",\"identifier\":{\"type\":\"m.id.user\",\"user\":\"\\u0000\"},\"password\":\"\"}",
    b"{\"x\":1e400}",
    b"{\"displayname\":null,\"avatar_url\":null,\"enabled\":null,\"actions\":null,\"devices\":[1]}",
];
const VARIABLES: [&str; 6] = ["x", "@alice:hospital-a.example", "!x:hospital-a.example", "%00", "%ff", "override"];

#[tokio::test]
async fn junk_is_answered_with_an_error_in_json() {
    let world = world().await;
    let alice = world.client("alice").await;
    let mut asked = 0;
    for route in routes().listed().iter().filter(|route| !route.path.contains("/logout")) {
        for variable in VARIABLES {
            let path: Vec<&str> = route
                .path
                .split('/')
                .map(|segment| if segment.starts_with('{') { variable } else { segment })
                .collect();
            for body in BODIES {
                // What waits for news by default does not wait here.
                for query in ["?timeout=0", "?timeout=0&kind=x&after=&before=%ff&username=&token"] {
                    let uri = format!("{}{query}", path.join("/"));
                    // `send` asserts that the answer is JSON.
                    let (status, answer) =
                        world.send(route.method.as_str(), &uri, Some(&alice.token), body.to_vec()).await;
                    assert!(status < 500, "{} {uri} {body:?}: {answer}", route.method);
                    assert!(status == 200 || answer["errcode"].is_string() || answer["flows"].is_array());
                    asked += 1;
                }
            }
            if !route.path.contains('{') {
                break;
            }
        }
    }
    assert!(asked > 5_000, "{asked}");
}
