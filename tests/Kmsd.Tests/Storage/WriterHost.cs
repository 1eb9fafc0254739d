using Kmsd.Metrics;
using Kmsd.Storage;

namespace Kmsd.Tests.Storage;

/// <summary>A writer of its own, over a database in a temporary folder.</summary>
internal sealed class WriterHost : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly Database _database;

    /// <param name="participants">What is written with each batch.</param>
    public WriterHost(params IReadOnlyList<IBatchParticipant> participants)
    {
        _database = Database.Create(_folder.File(Database.FileName));
        Writer = new Writer(_database, participants, witness: null, new WriterMeter(Meter), new ListLogger<Writer>());
    }

    public DaemonMeter Meter { get; } = new(TimeProvider.System);

    public Writer Writer { get; }

    public void Dispose()
    {
        Writer.Dispose();
        Meter.Dispose();
        _database.Dispose();
        _folder.Dispose();
    }
}
