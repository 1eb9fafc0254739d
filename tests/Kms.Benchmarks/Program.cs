using System.Globalization;
using Kms.Benchmarks;

// echo SOCKET | compare KMSD-SOCKET ECHO-SOCKET KEY SECONDS | load SOCKET KEY CONNECTIONS IN-FLIGHT SECONDS
// SECONDS may be -: until standard input ends.
switch (args)
{
    case ["echo", string path]:
        await EchoServer.RunAsync(path);
        return 0;
    case ["compare", string kmsd, string echo, string key, string seconds]:
        await CompareAsync(kmsd, echo, key, TimeSpan.FromSeconds(double.Parse(seconds, CultureInfo.InvariantCulture)));
        return 0;
    case ["load", string socket, string key, string connections, string inFlight, string seconds]:
        Measured measured = await Load.RunAsync(
            socket, Parameters(key), int.Parse(connections, CultureInfo.InvariantCulture), int.Parse(inFlight, CultureInfo.InvariantCulture),
            () => seconds == "-" ? Console.In.ReadToEndAsync() : Task.Delay(TimeSpan.FromSeconds(double.Parse(seconds, CultureInfo.InvariantCulture))));
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{measured.PerSecond:F0} requests/s, median {measured.Percentile(0.5):F0} µs, p99 {measured.Percentile(0.99):F0} µs"));
        return 0;
    default:
        await Console.Error.WriteLineAsync("usage: see tests/benchmarks.sh");
        return 64;
}

static string Parameters(string key) => $$"""{"key":"{{key}}","plaintext":"{{Convert.ToBase64String(new byte[32])}}"}""";

static async Task CompareAsync(string kmsd, string echo, string key, TimeSpan time)
{
    Console.WriteLine("connections x in flight | echo/s  kmsd/s  ratio | echo median  kmsd median  ratio | echo p99  kmsd p99");
    foreach ((int connections, int inFlight) in new[] { (1, 1), (16, 1), (4, 16) })
    {
        // Alternating, so that what else the machine does meets both.
        List<Measured> ofEcho = [];
        List<Measured> ofKmsd = [];
        for (int round = 0; round < 3; round++)
        {
            ofEcho.Add(await Load.RunAsync(echo, Parameters(key), connections, inFlight, () => Task.Delay(time)));
            ofKmsd.Add(await Load.RunAsync(kmsd, Parameters(key), connections, inFlight, () => Task.Delay(time)));
        }

        Measured one = Median(ofEcho);
        Measured other = Median(ofKmsd);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{connections,11} x {inFlight,-9} | {one.PerSecond,6:F0}  {other.PerSecond,6:F0}  {other.PerSecond / one.PerSecond,4:P0} | {one.Percentile(0.5),8:F0} µs  {other.Percentile(0.5),8:F0} µs  {other.Percentile(0.5) / one.Percentile(0.5),5:F2} | {one.Percentile(0.99),5:F0} µs {other.Percentile(0.99),6:F0} µs"));
    }
}

static Measured Median(List<Measured> rounds) => rounds.OrderBy(round => round.PerSecond).ElementAt(rounds.Count / 2);
