using System.Text.Json;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Rpc;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using StreamJsonRpc.Protocol;

namespace Kmsd.Tests.Rpc;

public sealed class RpcErrorTests
{
    [Fact]
    public void A_refusal_crosses_as_it_is()
    {
        JsonRpcError.ErrorDetail error = RpcError.From(
            new KmsException(KmsErrorCode.LimitExceeded, "Slow down.") { RetryAfter = TimeSpan.FromSeconds(2) },
            "keys.get", NullLogger.Instance);
        ErrorDetail detail = Assert.IsType<ErrorDetail>(error.Data);
        Assert.Equal((8, "Slow down.", "limitExceeded", 2000), ((int)error.Code, error.Message, detail.Reason, detail.RetryAfterMs));
        Assert.Null(detail.Incident);
    }

    [Fact]
    public void What_clients_may_advise_crosses_beside_the_reason()
    {
        KmsException refusal = new(KmsErrorCode.Forbidden, "No.") { RequiredRole = KmsException.OperatorRole, Subject = KmsException.OfKey };
        ErrorDetail detail = Assert.IsType<ErrorDetail>(RpcError.From(refusal, "keys.get", NullLogger.Instance).Data);
        Assert.Equal(("operator", "key"), (detail.RequiredRole, detail.Subject));
        Assert.Equal(
            """{"reason":"forbidden","subject":"key","requiredRole":"operator"}""", JsonSerializer.Serialize(detail, ProtocolJsonContext.Default.ErrorDetail));
    }

    /// <summary>As each is refused by the operation itself.</summary>
    [Fact]
    public async Task Refusals_of_keys_and_of_those_who_run_the_host_say_so()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        KmsException[] ofKeys =
        [
            Refusal.Of(KmsErrorCode.NotFound, () => daemon.Get(Daemon.Manager, "absent")),
            .. await OfKeyAsync(daemon),
        ];
        Assert.All(ofKeys, refusal => Assert.Equal((KmsException.OfKey, null), (refusal.Subject, refusal.RequiredRole)));
        Assert.Equal(
            KmsException.OperatorRole, (await Refusal.OfAsync(KmsErrorCode.Forbidden, () => daemon.Operations.CreateBackup.RunAsync(Daemon.Stranger, new CreateBackupRequest(), TestContext.Current.CancellationToken))).RequiredRole);
        Assert.Equal(
            KmsException.RootAdministratorRole, Refusal.Of(KmsErrorCode.Forbidden, () => daemon.Operations.ReadRootStatus.Run(Daemon.Stranger)).RequiredRole);
        KmsException none = Refusal.Of(KmsErrorCode.NotFound, () => daemon.Operations.ListKeys.Run(Daemon.Stranger, new ListKeysRequest { Store = "absent" }));
        Assert.Null(none.Subject);
    }

    private static async Task<IEnumerable<KmsException>> OfKeyAsync(Daemon daemon)
    {
        Caller user = Daemon.Uid(2000);
        _ = await daemon.CreateKeyAsync("mail", ("uid:2000", KeyRole.EncryptorDecryptor), ("uid:1000", KeyRole.Manager));
        KmsException version = await Refusal.OfAsync(
            KmsErrorCode.NotFound,
            () => daemon.Operations.SetVersionState.DisableAsync(Daemon.Manager, new VersionRequest { Key = "mail", Version = 7 }, TestContext.Current.CancellationToken));
        _ = await daemon.Operations.DisableKey.RunAsync(Daemon.Manager, new KeyRequest { Key = "mail" }, TestContext.Current.CancellationToken);
        return [version, await Refusal.OfAsync(KmsErrorCode.InvalidState, () => daemon.EncryptAsync(user, "mail"))];
    }

    [Fact]
    public void The_cause_of_a_refusal_never_crosses()
    {
        JsonRpcError.ErrorDetail error = RpcError.From(
            new KmsException(KmsErrorCode.TokenUnavailable, "The token is away.", new IOException("/secret/path")),
            "keys.get", NullLogger.Instance);
        Assert.DoesNotContain("secret", JsonSerializer.Serialize(error.Data) + error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Anything_unexpected_is_an_incident_that_the_journal_alone_explains()
    {
        ListLogger journal = new();
        InvalidOperationException exception = new("/secret/path holds a secret");
        JsonRpcError.ErrorDetail error = RpcError.From(exception, "keys.get", journal);
        ErrorDetail detail = Assert.IsType<ErrorDetail>(error.Data);

        Assert.Equal((-32603, "internal"), ((int)error.Code, detail.Reason));
        Assert.Equal(12, detail.Incident!.Length);
        Assert.Equal($"Internal error; the journal explains it under incident {detail.Incident}.", error.Message);
        (LogLevel level, string line, Exception? logged) = Assert.Single(journal.Lines);
        Assert.Equal(LogLevel.Error, level);
        Assert.Contains(detail.Incident, line, StringComparison.Ordinal);
        Assert.Contains("keys.get", line, StringComparison.Ordinal);
        Assert.Same(exception, logged);
    }

    [Fact]
    public void A_cancelled_request_says_so_and_is_no_incident()
    {
        ListLogger journal = new();
        Assert.Equal(-32800, (int)RpcError.From(new OperationCanceledException(), "keys.get", journal).Code);
        Assert.Equal(-32800, (int)RpcError.From(new TaskCanceledException("inner words"), "keys.get", journal).Code);
        Assert.Empty(journal.Lines);
    }

    [Fact]
    public void What_does_not_fit_names_the_place_and_no_type()
    {
        JsonException exception = Assert.ThrowsAny<JsonException>(() => JsonSerializer.Deserialize(
            """{"key":"a","principal":"uid:1","role":"emperor"}""", ProtocolJsonContext.Default.GrantRequest));
        JsonRpcError.ErrorDetail error = RpcError.From(exception, "grants.add", NullLogger.Instance);
        Assert.Equal(-32602, (int)error.Code);
        Assert.Contains("$.role", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("Kms", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(-32602, -32602, "invalidParams")]
    [InlineData(-32601, -32601, "methodNotFound")]
    [InlineData(-32600, -32600, "invalidRequest")]
    [InlineData(-32800, -32800, "cancelled")]
    [InlineData(-32000, -32603, "internal")]
    [InlineData(-32700, -32603, "internal")]
    [InlineData(0, -32603, "internal")]
    [InlineData(1, -32603, "internal")]
    public void What_the_library_says_is_said_in_our_words(int code, int told, string reason)
    {
        JsonRpcError.ErrorDetail error = RpcError.Rewrite(new JsonRpcError.ErrorDetail
        {
            Code = (JsonRpcErrorCode)code,
            Message = "Kmsd.Rpc.KmsRpcTarget has no overload",
            Data = new CommonErrorData { TypeName = "Kmsd.Rpc.KmsRpcTarget", StackTrace = "at Kmsd" },
        });
        Assert.Equal((told, reason), ((int)error.Code, Assert.IsType<ErrorDetail>(error.Data).Reason));
        Assert.DoesNotContain("Kmsd", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void No_error_at_all_is_an_internal_one() => Assert.Equal(-32603, (int)RpcError.Rewrite(null).Code);
}
