//! Streams that several follow: whoever asks what somebody is being streamed reads along from its beginning. All readers are alike, and each of them drives what the backend
//! sends; so whoever asked first may leave, and the backend is only left when nobody reads any more.

use super::key::Key;
use super::recording::Written;
use crate::telemetry::TroubleNote;
use bytes::Bytes;
use futures::task::{ArcWake, waker_ref};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use tokio::sync::watch;

/// How much of a stream somebody may still join, bytes; and how far a reader may be behind another one once nobody can.
const MAX_HELD_BYTES: usize = 1024 * 1024;
/// The part of the room for answers that streams may take which are held for readers.
const PART: u64 = 4;

/// Streams under way, by what was asked.
#[derive(Default)]
pub(super) struct Streams(Mutex<HashMap<Key, watch::Receiver<Course>>>);

/// What became of a question.
#[derive(Clone)]
enum Course {
    /// Somebody asks.
    Asked,
    /// It is streamed.
    Streamed(Weak<Stream>),
    /// What came is nothing for others.
    Own,
}

/// Whoever wants a stream.
pub enum Joined {
    /// Asks for all who come.
    First(First),
    /// Reads what another one is streamed.
    Reader(Reader),
    /// Asks by itself.
    Alone,
}

/// Asks for all who come. Where it leaves before it is answered, the next one does.
pub struct First {
    streams: Arc<Streams>,
    key: Key,
    course: watch::Sender<Course>,
    room: Arc<Room>,
}

/// Room for what readers have not read yet.
pub(super) struct Room {
    pub(super) held: Written,
    pub(super) most: u64,
}

/// One who reads a stream.
pub struct Reader {
    stream: Arc<Stream>,
    number: usize,
}

struct Stream {
    passing: Mutex<Passing>,
    trouble: TroubleNote,
    waiting: Arc<Waiting>,
}

struct Passing {
    /// Nothing once it has ended.
    body: Option<UnsyncBoxBody<Bytes, BrokenOff>>,
    has_failed: bool,
    /// What not all have read, or somebody may still join for.
    frames: VecDeque<Bytes>,
    /// How many were before these.
    gone: usize,
    bytes: usize,
    /// Which frame each reader is to read next.
    next: HashMap<usize, usize>,
    readers: usize,
    /// As long as somebody may join.
    first: Option<First>,
    room: Arc<Room>,
}

/// Readers that wait for more.
#[derive(Default)]
struct Waiting(Mutex<HashMap<usize, Waker>>);

/// A reader was too far behind, or what it read broke off.
#[derive(Debug, thiserror::Error)]
#[error("the stream broke off")]
pub struct BrokenOff;

impl Streams {
    /// Joins whoever asks the same, or asks first.
    pub(super) async fn join(self: &Arc<Self>, key: Key, room: &Arc<Room>) -> Joined {
        loop {
            let asked = {
                let mut asked = self.asked();
                match asked.get(&key) {
                    Some(course) => course.clone(),
                    None => {
                        let (course, watched) = watch::channel(Course::Asked);
                        asked.insert(key, watched);
                        let (streams, room) = (Arc::clone(self), Arc::clone(room));
                        return Joined::First(First { streams, key, course, room });
                    }
                }
            };
            match follow(asked).await {
                Some(Course::Streamed(stream)) => {
                    let reader = stream.upgrade().and_then(|stream| stream.reader());
                    return reader.map_or(Joined::Alone, Joined::Reader);
                }
                Some(_) => return Joined::Alone,
                // Whoever asked has left: somebody else is the first.
                None => {}
            }
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Course>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a question; nothing if whoever asked it leaves.
async fn follow(mut course: watch::Receiver<Course>) -> Option<Course> {
    let known = course.wait_for(|course| !matches!(course, Course::Asked)).await.ok()?;
    Some(known.clone())
}

impl First {
    /// It is answered with a stream, which others may read too, and of which it is noted there should it not be whole.
    pub fn share(self, body: impl Body<Data = Bytes> + Send + 'static, trouble: TroubleNote) -> Reader {
        let course = self.course.clone();
        let passing = Passing {
            body: Some(body.map_err(|_| BrokenOff).boxed_unsync()),
            has_failed: false,
            frames: VecDeque::new(),
            gone: 0,
            bytes: 0,
            next: HashMap::from([(0, 0)]),
            readers: 1,
            room: Arc::clone(&self.room),
            first: Some(self),
        };
        let stream = Arc::new(Stream { passing: Mutex::new(passing), trouble, waiting: Arc::default() });
        course.send_replace(Course::Streamed(Arc::downgrade(&stream)));
        Reader { stream, number: 0 }
    }

    /// It is answered with something that is nobody else's.
    pub fn keep_for_itself(self) {
        self.course.send_replace(Course::Own);
    }
}

impl Reader {
    /// Where it is noted should the stream not be whole.
    pub fn trouble(&self) -> &TroubleNote {
        &self.stream.trouble
    }
}

impl Drop for First {
    fn drop(&mut self) {
        self.streams.asked().remove(&self.key);
    }
}

impl Stream {
    fn passing(&self) -> MutexGuard<'_, Passing> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more who reads from the beginning, while that is possible.
    fn reader(self: Arc<Self>) -> Option<Reader> {
        let number = {
            let mut passing = self.passing();
            passing.first.as_ref()?;
            let number = passing.readers;
            passing.readers += 1;
            passing.next.insert(number, 0);
            number
        };
        Some(Reader { stream: self, number })
    }
}

impl Passing {
    /// What a reader is to read next, if it is there.
    fn read(&mut self, number: usize) -> Option<Result<Bytes, BrokenOff>> {
        let next = self.next.get_mut(&number)?;
        let Some(index) = next.checked_sub(self.gone) else { return Some(Err(BrokenOff)) };
        let frame = self.frames.get(index).cloned()?;
        *next += 1;
        self.forget_what_all_have();
        Some(Ok(frame))
    }

    fn hold(&mut self, frame: &Bytes) {
        // In memory of its own: what was read may be a piece of something larger.
        self.frames.push_back(Bytes::copy_from_slice(frame));
        self.bytes += frame.len();
        let has_room = self.room.held.take(frame.len() as u64, self.room.most / PART);
        if !has_room {
            self.room.held.take(frame.len() as u64, u64::MAX);
        }
        if !has_room || self.bytes > MAX_HELD_BYTES {
            self.first = None;
        }
        self.forget_what_all_have();
    }

    /// Once nobody may join, what all have read goes, and of what a reader has not read, what is too much.
    fn forget_what_all_have(&mut self) {
        if self.first.is_some() {
            return;
        }
        let slowest = self.next.values().min().copied().unwrap_or(usize::MAX);
        while self.gone < slowest || self.bytes > MAX_HELD_BYTES {
            let Some(frame) = self.frames.pop_front() else { return };
            self.gone += 1;
            self.let_go(frame.len());
        }
    }

    fn let_go(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.room.held.give_back(bytes as u64);
    }

    fn end(&mut self) {
        self.body = None;
        self.first = None;
        self.forget_what_all_have();
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.let_go(self.bytes);
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Self { stream, number } = self.get_mut();
        let mut passing = stream.passing();
        loop {
            if let Some(read) = passing.read(*number) {
                return Poll::Ready(Some(read.map(Frame::data)));
            }
            let has_failed = passing.has_failed;
            let Some(body) = &mut passing.body else {
                return Poll::Ready(has_failed.then_some(Err(BrokenOff)));
            };
            // Before it is asked: it may call at once.
            stream.waiting.wait(*number, cx.waker());
            let all = waker_ref(&stream.waiting);
            match Pin::new(body).poll_frame(&mut Context::from_waker(&all)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    frame.data_ref().into_iter().for_each(|data| passing.hold(data))
                }
                Poll::Ready(Some(Err(_))) => {
                    passing.has_failed = true;
                    passing.end();
                }
                Poll::Ready(None) => passing.end(),
            }
            // Whoever waited for what this one has found.
            stream.waiting.call();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stream.waiting.leave(self.number);
        let mut passing = self.stream.passing();
        passing.next.remove(&self.number);
        passing.forget_what_all_have();
    }
}

impl Waiting {
    fn wakers(&self) -> MutexGuard<'_, HashMap<usize, Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, number: usize, waker: &Waker) {
        self.wakers().insert(number, waker.clone());
    }

    fn leave(&self, number: usize) {
        self.wakers().remove(&number);
    }

    fn call(&self) {
        let wakers = std::mem::take(&mut *self.wakers());
        wakers.into_values().for_each(Waker::wake);
    }
}

impl ArcWake for Waiting {
    fn wake_by_ref(waiting: &Arc<Self>) {
        waiting.call();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;

    const KEY: Key = [1; 32];
    /// Room for streams.
    const PLENTY: u64 = 64 << 20;

    /// A stream that goes on as a test sends.
    struct Scene {
        streams: Arc<Streams>,
        room: Arc<Room>,
        sender: mpsc::Sender<Bytes>,
    }

    impl Scene {
        /// And who asked first.
        async fn begun(most: u64) -> (Self, Reader) {
            let room = Arc::new(Room { held: Written::default(), most });
            let (streams, (sender, receiver)) = (Arc::<Streams>::default(), mpsc::channel(64));
            let scene = Self { streams, room, sender };
            let Joined::First(first) = scene.join().await else { panic!("somebody asked before") };
            let body = futures::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
                Some((Ok::<_, BrokenOff>(Frame::data(receiver.recv().await?)), receiver))
            });
            (scene, first.share(StreamBody::new(body), TroubleNote::default()))
        }

        async fn join(&self) -> Joined {
            self.streams.join(KEY, &self.room).await
        }

        async fn reader(&self) -> Reader {
            match self.join().await {
                Joined::Reader(reader) => reader,
                _ => panic!("nothing is streamed"),
            }
        }

        async fn send(&self, text: &'static str) {
            self.sender.send(Bytes::from(text)).await.unwrap();
        }

        fn held(&self) -> u64 {
            self.room.held.bytes()
        }
    }

    async fn read(reader: &mut Reader) -> Option<Result<Bytes, BrokenOff>> {
        Some(reader.frame().await?.map(|frame| frame.into_data().unwrap()))
    }

    async fn text(reader: &mut Reader) -> String {
        String::from_utf8(read(reader).await.unwrap().unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn who_comes_later_reads_from_the_beginning_and_all_go_on_together() {
        let (scene, mut first) = Scene::begun(PLENTY).await;
        scene.send("one").await;
        assert_eq!(text(&mut first).await, "one");
        let mut second = scene.reader().await;
        assert_eq!(text(&mut second).await, "one");
        let (mut both, send) =
            (futures::future::join(text(&mut first), text(&mut second)).boxed(), scene.send("two"));
        assert!(futures::poll!(&mut both).is_pending());
        send.await;
        assert_eq!(both.await, ("two".to_owned(), "two".to_owned()));
        drop(scene.sender);
        assert!(read(&mut first).await.is_none() && read(&mut second).await.is_none());
        assert!(matches!(scene.streams.join(KEY, &scene.room).await, Joined::First(_)), "it has ended");
    }

    #[tokio::test]
    async fn the_first_may_leave_and_the_source_is_left_with_the_last() {
        let (scene, mut first) = Scene::begun(PLENTY).await;
        scene.send("one").await;
        let mut second = scene.reader().await;
        assert_eq!(text(&mut second).await, "one");
        // It was the first who asked the source last.
        assert!(first.frame().now_or_never().is_some() && first.frame().now_or_never().is_none());
        let mut waiting = Box::pin(text(&mut second));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(first);
        scene.send("two").await;
        assert_eq!(waiting.await, "two");
        drop(second);
        assert!(scene.sender.is_closed());
    }

    #[tokio::test]
    async fn where_the_first_leaves_before_it_is_answered_the_next_one_asks() {
        let (streams, room) =
            (Arc::<Streams>::default(), Arc::new(Room { held: Written::default(), most: PLENTY }));
        let first = streams.join(KEY, &room).await;
        let mut second = Box::pin(streams.join(KEY, &room));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        let Joined::First(second) = second.await else { panic!("nobody asks") };
        let mut third = Box::pin(streams.join(KEY, &room));
        assert!(futures::poll!(&mut third).is_pending());
        second.keep_for_itself();
        assert!(matches!(third.await, Joined::Alone));
        assert!(matches!(streams.join(KEY, &room).await, Joined::First(_)));
    }

    #[tokio::test]
    async fn what_is_too_long_is_joined_no_more_and_who_is_too_far_behind_is_left() {
        let (scene, mut first) = Scene::begun(PLENTY).await;
        let mut slow = scene.reader().await;
        let large = Bytes::from(vec![b'x'; MAX_HELD_BYTES / 2]);
        for _ in 0..2 {
            scene.sender.send(large.clone()).await.unwrap();
            read(&mut first).await.unwrap().unwrap();
        }
        assert_eq!(scene.held(), MAX_HELD_BYTES as u64);
        scene.send("more").await;
        assert_eq!(text(&mut first).await, "more");
        assert!(matches!(scene.join().await, Joined::First(_)), "its beginning is gone");
        assert!(matches!(read(&mut slow).await, Some(Err(BrokenOff))));
        drop((first, slow));
        assert_eq!(scene.held(), 0);
    }

    #[tokio::test]
    async fn without_room_nobody_joins_and_nothing_is_held_that_all_have_read() {
        let (scene, mut first) = Scene::begun(PART * 4).await;
        scene.send("four").await;
        assert_eq!(text(&mut first).await, "four");
        let mut second = scene.reader().await;
        scene.send("more").await;
        assert_eq!(text(&mut first).await, "more");
        assert!(matches!(scene.join().await, Joined::First(_)));
        assert_eq!((text(&mut second).await, text(&mut second).await), ("four".into(), "more".into()));
        assert_eq!(scene.held(), 0);
    }
}
