#!/usr/bin/python3
"""What people would use instead, as one program: peers.py NAME ARGUMENT…

Each prints its result and the seconds its work took (imports and start-up left out).
"""

import concurrent.futures
import multiprocessing
import os
import queue
import sys
import threading
import time


def urls_of(pages, n):
    pages = pages.split(",")
    return [pages[i % len(pages)] for i in range(n)]


# Pages

async def fetch_all(urls, in_flight):
    import aiohttp
    import asyncio
    total = 0
    todo = iter(urls)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight),
                                     timeout=aiohttp.ClientTimeout(total=None)) as session:
        async def worker():
            nonlocal total
            for url in todo:
                async with session.get(url) as response:
                    words = len((await response.text()).split())
                total += words                  # not in one expression: it would read total before it waits
        await asyncio.gather(*(worker() for _ in range(in_flight)))
    return total


def words_aiohttp(pages, n, in_flight):
    import asyncio
    return asyncio.run(fetch_all(urls_of(pages, int(n)), int(in_flight)))


def words_uvloop(pages, n, in_flight):
    import uvloop
    uvloop.install()
    return words_aiohttp(pages, n, in_flight)


def words_uvloop_2(pages, n, in_flight):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return sum(pool.starmap(words_uvloop, [(pages, int(n) // 2, int(in_flight) // 2)] * 2, 1))


_local = threading.local()


def fetch_one(url):
    import requests
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
    return len(_local.session.get(url).text.split())


def words_threads(pages, n, workers):
    with concurrent.futures.ThreadPoolExecutor(int(workers)) as pool:
        return sum(pool.map(fetch_one, urls_of(pages, int(n))))


def words_processes(pages, n, workers):
    with multiprocessing.get_context("fork").Pool(int(workers)) as pool:
        return sum(pool.imap_unordered(fetch_one, urls_of(pages, int(n)), 16))


# Files

def file_read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return len(file.read().split())


def file_lines(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return sum(len(line.split()) for line in file)


def files_loop(directory):
    return sum(file_read(entry.path) for entry in os.scandir(directory))


def files_processes(directory):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return sum(pool.imap_unordered(file_read, [entry.path for entry in os.scandir(directory)], 64))


# Commands

def commands_threads(n, program):
    import subprocess
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda i: subprocess.run([program, str(i)]).returncode == 0, range(int(n))))


# Numbers

def sum_range(n):
    return sum(range(int(n)))


def sum_serial(*numbers):
    return sum(map(sum_range, numbers))


def sum_threads(*numbers):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return sum(pool.map(sum_range, numbers))


def sum_processes(*numbers):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return sum(pool.imap_unordered(sum_range, numbers))


# Tasks that do nothing

def nothing(_):
    return 0


def noop_threadpool(n):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return sum(1 for _ in pool.map(nothing, range(int(n))))


def noop_queue(n):
    tasks = queue.Queue()
    threads = [threading.Thread(target=lambda: [nothing(t) for t in iter(tasks.get, None)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(int(n)):
        tasks.put(i)
    for _ in threads:
        tasks.put(None)
    for thread in threads:
        thread.join()
    return int(n)


def noop_pool(n):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return sum(1 for _ in pool.imap_unordered(nothing, range(int(n)), 1))


def noop_asyncio(n):
    import asyncio

    async def task():
        return 0

    async def main():
        return len(await asyncio.gather(*(task() for _ in range(int(n)))))
    return asyncio.run(main())


def executor(make, n, in_flight):
    import asyncio

    async def main():
        loop, left = asyncio.get_running_loop(), iter(range(int(n)))
        with make(1) as pool:
            async def worker():
                return sum([await loop.run_in_executor(pool, nothing, i) for i in left])
            await asyncio.gather(*(worker() for _ in range(int(in_flight))))
        return int(n)
    return asyncio.run(main())


def executor_threads(n, in_flight):
    return executor(concurrent.futures.ThreadPoolExecutor, n, in_flight)


def executor_processes(n, in_flight):
    return executor(concurrent.futures.ProcessPoolExecutor, n, in_flight)


# Tasks that do nothing, through Redis: workers are warm when the clock starts

def rq_worker(path):
    import redis
    import rq
    connection = redis.Redis(unix_socket_path=path)
    rq.SimpleWorker([rq.Queue(connection=connection)], connection=connection).work(logging_level="ERROR")


def noop_rq(path, n):
    import redis
    import rq
    connection = redis.Redis(unix_socket_path=path)
    queue_ = rq.Queue(connection=connection)
    workers = [multiprocessing.get_context("fork").Process(target=rq_worker, args=[path]) for _ in range(2)]
    for worker in workers:
        worker.start()
    while rq.Worker.count(connection=connection) < 2:
        time.sleep(0.01)
    began = time.monotonic()
    for i in range(int(n)):
        queue_.enqueue("peers.nothing", i)
    while queue_.finished_job_registry.count < int(n):
        time.sleep(0.005)
    took = time.monotonic() - began
    for worker in workers:
        worker.terminate()
        worker.join()
    return int(n), took


def celery_app(path):
    import celery
    app = celery.Celery("peers", broker=f"redis+socket://{path}", backend=f"redis+socket://{path}")
    app.conf.update(worker_prefetch_multiplier=64, task_acks_late=True)
    return app, app.task(name="peers.nothing")(nothing)


def celery_worker(path):
    app, _ = celery_app(path)
    app.worker_main(["worker", "-P", "prefork", "-c", "2", "-l", "ERROR", "--without-gossip", "--without-mingle",
                     "--without-heartbeat"])


def noop_celery(path, n):
    import celery
    import subprocess
    worker = subprocess.Popen([sys.executable, __file__, "celery-worker", path], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    app, task = celery_app(path)
    task.delay(0).get(timeout=60)
    began = time.monotonic()
    celery.group(task.s(i) for i in range(int(n))).apply_async().get(timeout=300)
    took = time.monotonic() - began
    worker.terminate()
    worker.wait()
    return int(n), took


def main():
    function = globals()[sys.argv[1].replace("-", "_")]
    for module in {"words_aiohttp": ["aiohttp"], "words_uvloop": ["aiohttp", "uvloop"], "words_uvloop_2": ["aiohttp", "uvloop"],
                   "words_threads": ["requests"], "words_processes": ["requests"], "noop_rq": ["rq"], "noop_celery": ["celery"]}.get(function.__name__, []):
        __import__(module)
    began = time.monotonic()
    result = function(*sys.argv[2:])
    result, took = result if isinstance(result, tuple) else (result, time.monotonic() - began)
    print(result, f"{took:.6f}")


if __name__ == "__main__":
    main()
