using System.Globalization;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>A token, a PIN file, a configuration and a state folder of their own; gone at the end.</summary>
internal sealed class Installation : IAsyncDisposable
{
    public const string Label = "e2e";

    private readonly Dictionary<(string Section, string Key), string> _settings = [];

    private Installation(string path)
    {
        Path = path;
        Set("daemon", "socket", Socket);
        Set("daemon", "socket_group", "root");
        Set("daemon", "socket_mode", "0666");
        Set("daemon", "state_dir", State);
        Set("token", "module", Repository.SoftHsm);
        Set("token", "label", Label);
        Set("token", "pin_file", PinFile);
    }

    public string Path { get; }

    public string Socket => System.IO.Path.Combine(Path, "kmsd.sock");

    public string State => System.IO.Path.Combine(Path, "state");

    public string Database => System.IO.Path.Combine(State, "kms.db");

    public string PinFile => System.IO.Path.Combine(Path, "pin");

    public string Configuration => System.IO.Path.Combine(Path, "kmsd.conf");

    public Dictionary<string, string> Environment => new() { ["SOFTHSM2_CONF"] = System.IO.Path.Combine(Path, "softhsm2.conf") };

    /// <summary>With a token, not yet initialised.</summary>
    public static async Task<Installation> MakeEmptyAsync(string pin = "e2e-user-pin")
    {
        string path = Directory.CreateTempSubdirectory("kms-e2e-").FullName;
        File.SetUnixFileMode(path, (UnixFileMode)0b111_101_101);
        Installation installation = new(path);
        _ = Directory.CreateDirectory(installation.State, (UnixFileMode)0b111_000_000);
        WriteSecret(installation.PinFile, pin + "\n");
        await installation.MakeTokenAsync(Label);
        return installation;
    }

    /// <summary>Initialised, ready to serve.</summary>
    public static async Task<Installation> MakeAsync()
    {
        Installation installation = await MakeEmptyAsync();
        Finished init = await installation.InitAsync();
        return init.ExitCode == 0 ? installation : throw new InvalidOperationException($"init: {init.Error}");
    }

    /// <summary>Initialised by the build with test hooks, on a clock that the test sets.</summary>
    public static async Task<Installation> MakeAsync(DateTimeOffset now)
    {
        Installation installation = await MakeEmptyAsync();
        await installation.InitAsync(now);
        return installation;
    }

    /// <summary>The same of one that has its token and its settings.</summary>
    public async Task InitAsync(DateTimeOffset now)
    {
        Now = now;
        Finished init = await TestKmsdAsync([], "init", "--root", "token");
        Assert.True(init.ExitCode == 0, init.Error);
    }

    /// <summary>The clock of the build with test hooks; null until it is set: then it is this host's.</summary>
    public DateTimeOffset? Now
    {
        get;
        set
        {
            // Replaced whole: the daemon reads it at any moment.
            File.WriteAllText(ClockFile + ".new", value!.Value.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture));
            File.Move(ClockFile + ".new", ClockFile, overwrite: true);
            field = value;
        }
    }

    private string ClockFile => System.IO.Path.Combine(Path, "clock");

    private Dictionary<string, string> WithClock(Dictionary<string, string> hooks) => Now is null ? hooks : new(hooks) { ["KMSD_TEST_CLOCK"] = ClockFile };

    public void Set(string section, string key, string value) => _settings[(section, key)] = value;

    public static void WriteSecret(string path, string text)
    {
        File.WriteAllText(path, text);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    public async Task MakeTokenAsync(string label) =>
        _ = await Shell.SucceedAsync(Repository.Script("softhsm/make-token.sh"), Path, label, PinFile);

    public void WriteConfiguration(string? more = null)
    {
        IEnumerable<string> sections = _settings.GroupBy(setting => setting.Key.Section).Select(section =>
            $"[{section.Key}]\n{string.Concat(section.Select(setting => $"{setting.Key.Key} = {setting.Value}\n"))}");
        File.WriteAllText(Configuration, string.Concat(sections) + more);
        File.SetUnixFileMode(Configuration, (UnixFileMode)0b110_100_100);
    }

    public async Task<Finished> InitAsync(params string[] arguments)
    {
        WriteConfiguration();
        return await Shell.RunAsync(
            Repository.Kmsd, ["init", "--config", Configuration, .. arguments.Length > 0 ? arguments : ["--root", "token"]], Environment);
    }

    /// <summary>Starts the daemon, and waits until it serves.</summary>
    public Task<Daemon> StartAsync() => Daemon.StartAsync(this, Repository.Kmsd, []);

    /// <summary>Starts the build with test hooks.</summary>
    public Task<Daemon> StartTestBuildAsync(Dictionary<string, string> hooks) => Daemon.StartAsync(this, Repository.TestKmsd, WithClock(hooks));

    /// <summary>Runs the daemon where it is expected to refuse.</summary>
    /// <param name="more">Variables of its environment.</param>
    public async Task<Finished> RefusedAsync(Dictionary<string, string>? more = null)
    {
        WriteConfiguration();
        return await Shell.RunAsync(
            Repository.Kmsd, ["--config", Configuration], Environment.Concat(more ?? []).ToDictionary(one => one.Key, one => one.Value));
    }

    /// <summary>Runs a command of kmsd while no daemon runs.</summary>
    public Task<Finished> KmsdAsync(params string[] arguments) => KmsdAsync(Repository.Kmsd, [], arguments);

    /// <summary>Runs a command of the build with test hooks.</summary>
    public Task<Finished> TestKmsdAsync(Dictionary<string, string> hooks, params string[] arguments) => KmsdAsync(Repository.TestKmsd, WithClock(hooks), arguments);

    private Task<Finished> KmsdAsync(string program, Dictionary<string, string> more, string[] arguments)
    {
        WriteConfiguration();
        return Shell.RunAsync(
            program, [.. arguments, "--config", Configuration], Environment.Concat(more).ToDictionary(one => one.Key, one => one.Value));
    }

    public Task<Finished> KmsctlAsync(params string[] arguments) => KmsctlAsync([], arguments);

    public Task<Finished> KmsctlAsync(byte[] input, params string[] arguments) =>
        Shell.RunAsync(Repository.Kmsctl, arguments, new() { ["KMSD_SOCKET"] = Socket }, input);

    /// <summary>Whoever reads the history through the daemon has all that it answered brought into the database; so does this.</summary>
    public async Task SettleAsync()
    {
        await using Wire wire = await Wire.ConnectAsync(Socket);
        _ = await wire.ResultAsync("history.export", """{"limit":1}""");
    }

    /// <summary>Runs SQL in the stopped daemon's database with the sqlite3 tool.</summary>
    public Task SqlAsync(string sql) => Shell.SucceedAsync("sqlite3", Database, sql);

    public ValueTask DisposeAsync()
    {
        Directory.Delete(Path, recursive: true);
        return ValueTask.CompletedTask;
    }
}
