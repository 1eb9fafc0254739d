using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Kms.Benchmarks;

/// <summary>What a load measured.</summary>
/// <param name="Requests">Answered in the measured time.</param>
/// <param name="Seconds">The measured time.</param>
/// <param name="Latencies">Of each, in microseconds, sorted.</param>
internal sealed record Measured(long Requests, double Seconds, double[] Latencies)
{
    public double PerSecond => Requests / Seconds;

    public double Percentile(double share) => Latencies.Length == 0 ? double.NaN : Latencies[(int)((Latencies.Length - 1) * share)];
}

/// <summary>Connections that each keep so many requests in flight, over raw sockets: no client library is measured with it.</summary>
internal static class Load
{
    private static readonly TimeSpan s_warmUp = TimeSpan.FromMilliseconds(500);

    /// <param name="socket">The server's.</param>
    /// <param name="parameters">Of each request.</param>
    /// <param name="connections">How many.</param>
    /// <param name="inFlight">Requests of each at a time.</param>
    /// <param name="run">While what is measured; called after half a second that isn't.</param>
    public static async Task<Measured> RunAsync(string socket, string parameters, int connections, int inFlight, Func<Task> run)
    {
        using CancellationTokenSource stop = new();
        long begin = Stopwatch.GetTimestamp() + (long)(s_warmUp.TotalSeconds * Stopwatch.Frequency);
        CancellationToken ends = stop.Token;
#pragma warning disable IDISP013 // All are awaited below.
        Task<List<double>>[] running =
        [
            .. Enumerable.Range(0, connections).Select(_ => Task.Factory.StartNew(
                () => Connection(socket, parameters, inFlight, begin, ends), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)),
        ];
#pragma warning restore IDISP013
        await Task.Delay(s_warmUp);
        await run();
        double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        await stop.CancelAsync();
        List<double>[] all = await Task.WhenAll(running);
        double[] latencies = [.. all.SelectMany(latency => latency)];
        Array.Sort(latencies);
        return new Measured(latencies.Length, seconds, latencies);
    }

    private static List<double> Connection(string path, string parameters, int inFlight, long begin, CancellationToken end)
    {
        using Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(path));
        byte[][] requests = [.. Enumerable.Range(0, inFlight).Select(slot => Encoding.UTF8.GetBytes(
            $"{{\"jsonrpc\":\"2.0\",\"id\":{slot.ToString(CultureInfo.InvariantCulture)},\"method\":\"crypto.encrypt\",\"params\":{parameters}}}\n"))];
        long[] sent = new long[inFlight];
        List<double> latencies = new(1 << 18);
        byte[] buffer = new byte[1 << 16];
        byte[] batch = new byte[requests.Sum(request => request.Length)];
        int filled = 0;
        foreach ((byte[] request, int slot) in requests.Select((request, slot) => (request, slot)))
        {
            sent[slot] = Stopwatch.GetTimestamp();
            _ = socket.Send(request);
        }

        while (true)
        {
            int read = socket.Receive(buffer, filled, buffer.Length - filled, SocketFlags.None);
            if (read == 0)
            {
                throw new IOException("The server hung up.");
            }

            filled += read;
            long now = Stopwatch.GetTimestamp();
            int start = 0;
            int length = 0;
            for (int newLine; (newLine = buffer.AsSpan(start, filled - start).IndexOf((byte)'\n')) >= 0; start += newLine + 1)
            {
                int slot = Slot(buffer.AsSpan(start, newLine));
                if (now >= begin)
                {
                    latencies.Add((now - sent[slot]) * 1e6 / Stopwatch.Frequency);
                }

                requests[slot].CopyTo(batch, length);
                length += requests[slot].Length;
                sent[slot] = now;
            }

            buffer.AsSpan(start, filled - start).CopyTo(buffer);
            filled -= start;
            if (end.IsCancellationRequested)
            {
                return latencies;
            }

            _ = length > 0 ? socket.Send(batch.AsSpan(0, length)) : 0;
        }
    }

    /// <summary>Of <c>"id":N</c>, in an answer that isn't a refusal.</summary>
    private static int Slot(ReadOnlySpan<byte> line)
    {
        int at = line.IndexOf("\"id\":"u8);
        if (at < 0 || line.IndexOf("\"error\""u8) >= 0)
        {
            throw new InvalidDataException("The server refused: " + Encoding.UTF8.GetString(line));
        }

        int slot = 0;
        for (int i = at + 5; i < line.Length && char.IsAsciiDigit((char)line[i]); i++)
        {
            slot = (slot * 10) + line[i] - '0';
        }

        return slot;
    }
}
